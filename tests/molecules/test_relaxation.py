"""What a relaxation does to molecules."""

import numpy as np
import pytest
from ase.build import molecule

from matkit.molecules.relaxation import KCAL_PER_MOL, median, rmsd, strain_of

ROW = {"energy_before": -1.0, "energy_after": -1.1}


def test_energy_is_that_of_the_whole_molecule_in_kcal():
    methane = molecule("CH4")
    found = strain_of(methane, methane.copy(), ROW)
    assert found["strain"] == pytest.approx(5 * 0.1 / KCAL_PER_MOL)
    assert found["strain"] == pytest.approx(11.53, abs=0.01)
    assert (found["bonds_kept"], found["smiles_relaxed"]) == (True, "C")


def test_displacement_knows_no_rotation():
    water, turned = molecule("H2O"), molecule("H2O")
    turned.rotate(70, (1, 2, 3))
    turned.positions += 4
    assert rmsd(water, turned) == pytest.approx(0, abs=1e-6)
    turned.positions[1] += 0.3
    assert 0.05 < rmsd(water, turned) < 0.3
    assert rmsd(water[:1], turned[:1]) == 0


def test_a_bond_that_opens_is_seen():
    ethanol, open_one = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    assert strain_of(ethanol, open_one, ROW)["bonds_kept"]
    open_one.positions[int(np.argmax(open_one.numbers == 1))] += 1.5
    assert not strain_of(ethanol, open_one, ROW)["bonds_kept"]


def test_a_relaxation_that_failed_keeps_no_bonds():
    assert strain_of(molecule("CH4"), None, {"reason": "max_steps"}) == {"bonds_kept": False}


def test_medians_are_over_what_is_known():
    strains = {0: {"strain": 1.0}, 1: {"bonds_kept": False}, 2: {"strain": 3.0}}
    assert median(strains, "strain") == 2.0
    assert median(strains, "rmsd") is None
