import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from matkit.hessians import normal_modes
from matkit.testing.systems import random_rotation
from matkit.vibrations.results import mode_table
from matkit.vibrations.symmetry import infrared_active
from tests.vibrations.springs import ammonia, carbon_dioxide, nitrogen, springs


def pairwise_hessian(atoms: Atoms) -> np.ndarray:
    """A Hessian with the symmetry of the molecule: stretches and, weaker, all other motions."""
    size = len(atoms)
    blocks = np.zeros((size, 3, size, 3))
    for i, j in zip(*np.nonzero(~np.eye(size, dtype=bool)), strict=True):
        vector = atoms.positions[j] - atoms.positions[i]
        stiff = 30 * np.outer(vector, vector) / (vector @ vector) ** 2 + 0.5 * np.eye(3)
        blocks[i, :, i] += stiff
        blocks[i, :, j] -= stiff
    return blocks.reshape(3 * size, -1)


@pytest.mark.parametrize(
    ("name", "inactive"),
    [
        ("H2O", 0),  # 2 A1 + B2, all allowed
        ("CO", 0),
        ("H2", 1),
        ("CO2", 1),  # the symmetric stretch
        ("C2H2", 4),  # two stretches and a bending of two directions, all even
        ("CH4", 3),  # A1 + E; 2 T2 are allowed
        ("C2H6", 10),  # of 18, 2 A2u + 3 Eu absorb
        ("C6H6", 23),  # of 30, A2u + 3 E1u absorb
    ],
)
def test_modes_of_textbooks(name, inactive):
    atoms = molecule(name)
    modes = normal_modes(atoms, pairwise_hessian(atoms))
    assert int((~infrared_active(atoms, modes)).sum()) == inactive


def test_the_dipole_of_charged_springs_agrees():
    """Inactive modes move no dipole of charges that are equal on equal atoms."""
    atoms = carbon_dioxide()
    atoms.positions = atoms.positions @ random_rotation().numpy().T + 1.0
    modes = normal_modes(atoms, pairwise_hessian(atoms))
    dipoles = np.linalg.norm(np.einsum("i,mia->ma", [-0.5, 1.0, -0.5], modes.vectors), axis=1)
    assert (infrared_active(atoms, modes) == (dipoles > 1e-6)).all()


def test_isotopes_break_the_symmetry():
    atoms = nitrogen()
    atoms.set_masses([14, 15])
    assert infrared_active(atoms, normal_modes(atoms, springs().get_hessian(atoms))).all()


def test_a_relaxed_geometry_is_as_good_as_an_exact_one():
    atoms = ammonia()
    atoms.rattle(1e-3, seed=1)
    assert infrared_active(atoms, normal_modes(atoms, springs().get_hessian(atoms))).all()
    methane = molecule("CH4")
    methane.rattle(1e-3, seed=1)
    modes = normal_modes(methane, pairwise_hessian(methane))
    assert int((~infrared_active(methane, modes)).sum()) == 3


def test_an_atom_has_no_modes():
    atoms = Atoms("He")
    assert len(infrared_active(atoms, normal_modes(atoms, np.zeros((3, 3))))) == 0


def test_the_table_names_inactive_modes():
    atoms = carbon_dioxide()
    modes = normal_modes(atoms, pairwise_hessian(atoms))
    head, *lines = mode_table(modes, infrared_active(atoms, modes)).splitlines()
    assert head.endswith("infrared")
    assert sorted(line.split()[-1] for line in lines) == ["allowed"] * 3 + ["inactive"]
    assert "infrared" not in mode_table(modes)
