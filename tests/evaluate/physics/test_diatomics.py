import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential

from matkit.evaluate.physics.diatomics import diatomic, pairs_of
from matkit.evaluate.physics.report import diatomic_figure
from tests.evaluate.physics import potentials

ARGON = (18, 18)


def failed(check):
    return [measure.name for measure in check.measures if not measure.passes]


def test_a_pair_with_one_well_passes():
    check = diatomic(ARGON, potentials.faulty(potentials.good))
    assert (check.subject, check.verdict) == ("Ar-Ar", "pass")
    assert check.facts["bond_length"] == pytest.approx(3.57, abs=0.03)
    assert 0.05 < check.facts["depth"] < 0.5
    assert check.facts["energy"][-1] == 0.0


def test_other_calculators_are_asked_one_by_one():
    check = diatomic(ARGON, MorsePotential(r0=3.0, epsilon=1.0, rho0=6.0, rcut1=5.0, rcut2=5.9))
    assert check.verdict == "pass"
    assert check.facts["bond_length"] == pytest.approx(3.0, abs=0.03)
    assert check.facts["depth"] == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (potentials.second_well, ["minima"]),
        (potentials.step, ["jump"]),
        (potentials.end, ["jump", "step at the cutoff"]),
    ],
)
def test_faults_are_found(fault, names):
    check = diatomic(ARGON, potentials.faulty(fault))
    assert check.verdict == "fail"
    assert failed(check) == names


def test_atoms_that_fall_into_each_other_are_found():
    assert "minima" in failed(diatomic(ARGON, potentials.faulty(potentials.hole)))


def test_no_repulsion_is_found():
    check = diatomic(ARGON, potentials.faulty(potentials.no_wall))
    assert "repulsion" in failed(check)


def test_numbers_that_are_none_fail():
    check = diatomic(ARGON, potentials.faulty(lambda distance: distance * np.nan))
    assert check.failure == "an energy or force is not a number"


def test_pairs_of_a_crystal_come_first():
    assert pairs_of([[29], [11, 17]], 4) == [(29, 29), (11, 11), (11, 17), (17, 17)]
    assert pairs_of([[29], [11, 17]], 9)[4:] == [(11, 29), (17, 29)]
    assert pairs_of([[17, 17, 11]], 9) == [(17, 17), (11, 17), (11, 11)]


def test_the_wall_does_not_hide_the_well():
    curves = {"Cu-Cu": diatomic((29, 29), EMT()).facts}
    (axes,) = diatomic_figure(curves).axes
    low, high = axes.get_ylim()
    assert low < min(curves["Cu-Cu"]["energy"]) < 0 < high < max(curves["Cu-Cu"]["energy"])
