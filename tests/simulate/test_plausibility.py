"""What no molecule is like is not called a stationary point of one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from matkit.errors import SimulationError
from matkit.simulate import RelaxOptions, relax, singlepoint
from matkit.simulate.plausibility import (
    closest_contacts,
    implausible,
    lone_atoms,
    too_close,
)
from matkit.simulate.stationary import stationary_point


class Constant(Calculator):
    """One energy for everything but single atoms."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    potentials = ()

    def __init__(self, energy, info=None):
        super().__init__()
        self.energy, self.info = energy, info or {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy = self.energy if len(atoms) > 1 else 0.0
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}


def judged(atoms, energy=-5.0, info=None, frequencies=None):
    calc = Constant(energy, info)
    atoms.calc = calc
    return implausible(atoms, calc, frequencies)


@pytest.mark.parametrize("name", ["H2", "N2", "CO", "HF", "C2H2", "LiH", "P2", "H2O", "C6H6"])
def test_real_molecules_are_plausible(name):
    assert judged(molecule(name), frequencies=np.array([-2000.0, 50.0, 4401.0])) == []


def test_a_crystal_and_its_images_are_plausible():
    assert too_close(bulk("Cu")) == ""
    assert too_close(bulk("Cu", a=1.5)) != ""
    assert too_close(Atoms("He")) == ""


def test_molecules_that_have_come_apart_are_said():
    atoms = molecule("H2")
    assert lone_atoms(atoms) == lone_atoms(Atoms("H")) == lone_atoms(bulk("Cu") * 2) == ""
    atoms.positions[1, 2] -= 0.5
    assert lone_atoms(atoms).startswith("H0, H1 bonded to no other atom")
    assert "H4, ..." in lone_atoms(Atoms("H7", [[3 * k, 0, 0] for k in range(7)]))


def test_fused_nuclei_are_none():
    atoms = Atoms("OHH", [[0, 0, 0], [0, 0, 0.96], [0, 0.001, 0.96]])
    (problem,) = judged(atoms)
    assert "H1 and H2 are 0.001 Å apart, 0.00 of the sum of their covalent radii" in problem


@pytest.mark.parametrize(
    ("value", "text"), [(-8134.0, "8134i 1/cm"), (-12277.0, "12277i"), (5200.0, "5200 1/cm")]
)
def test_frequencies_that_no_molecule_has(value, text):
    (problem,) = judged(molecule("H2O"), frequencies=np.array([value, 100.0]))
    assert f"a mode of {text}" in problem


@pytest.mark.parametrize(
    ("energy", "text"), [(-1000.0, "333 eV per atom below"), (1e4, "above"), (np.nan, "nan")]
)
def test_energies_that_no_chemistry_has(energy, text):
    (problem,) = judged(molecule("H2O"), energy=energy)
    assert text in problem


def test_energies_of_atoms_are_not_asked_of_other_calculators():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert implausible(atoms, atoms.calc) == []


def test_a_clash_in_a_thousand_structures_is_no_knowledge_of_a_bond():
    many = [molecule("H2O")] * 1000
    assert closest_contacts([*many, molecule("H2")])["H-H"] == 2.0
    assert closest_contacts([*many, molecule("H2"), molecule("H2")])["H-H"] == 1.189


@pytest.mark.parametrize("kind", ["O-H", "H-O"])
def test_a_domain_is_that_of_the_training(kind):
    assert closest_contacts([molecule("H2O"), molecule("H2")]) == {"H-H": 1.189, "H-O": 0.999}
    assert closest_contacts([molecule("H2O")]) == {"H-H": 2.0, "H-O": 0.999}, "never near"
    info = {"domain": {"closest": {kind: 1.0}}}
    atoms = molecule("H2O")
    assert judged(atoms, info=info) == []
    atoms.positions[1] += 0.2 * (atoms.positions[0] - atoms.positions[1])
    (problem,) = judged(atoms, info=info)
    assert "outside of the model's domain: O0 and H1 are 0.775 Å apart" in problem
    assert judged(atoms, info={"domain": {"closest": 3}}) == []
    assert judged(atoms, info={"domain": {"closest": {"H-O": "near", "Xy-O": 5}}}) == []
    assert judged(atoms, info={"domain": "molecules"}) == []


def test_a_relaxation_that_fuses_nuclei_is_not_converged():
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.3]])
    result = relax(atoms, Constant(-5.0))
    assert (result.reason, result.converged) == ("implausible", False)
    assert "O0 and H1 are 0.300 Å apart" in result.message
    with pytest.raises(SimulationError, match="'implausible'.*O0 and H1"):
        stationary_point(atoms, Constant(-5.0), RelaxOptions(), None)
    assert "O0 and H1" in singlepoint(atoms, Constant(-5.0)).message
