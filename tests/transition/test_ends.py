import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, minimize_rotation_and_translation, molecule
from ase.constraints import FixAtoms

from matkit.transition.likeness import aligned, bond_changes, bonds, connects, likeness, rmsd
from tests.vibrations.springs import ammonia


def turned(atoms, angle=70):
    copy = atoms.copy()
    copy.rotate(angle, (1, 2, 3))
    copy.translate((3, -1, 2))
    return copy


def mirrored(atoms):
    copy = atoms.copy()
    copy.positions[:, 0] *= -1
    return copy


def rotamer(angle):
    """Hydrogen peroxide with a dihedral angle."""
    turn = np.radians(angle)
    ends = [[0, 0.9, -0.2], [0.0, 0.9 * np.cos(turn), 1.6]]
    ends[1][0] = 0.9 * np.sin(turn)
    return Atoms("OOHH", [[0, 0, 0], [0, 0, 1.45], *ends])


def test_bonds():
    assert bonds(molecule("CH3OH")) == {(0, 1), (0, 2), (0, 4), (0, 5), (1, 3)}
    assert bonds(Atoms("H2", [[0, 0, 0], [0, 0, 2]])) == frozenset()
    crystal = bulk("Cu", cubic=True)
    assert len(bonds(crystal)) == 6  # through the boundary too


def test_bonds_that_break_and_form():
    methanol = molecule("CH3OH")
    torn = methanol.copy()
    torn.positions[3] += 3.0
    assert bond_changes(methanol, torn) == (["O1-H3"], [])
    assert bond_changes(torn, methanol) == ([], ["O1-H3"])


def test_alignment_is_that_of_ase():
    target = molecule("CH3OH")
    start = turned(target)
    start.rattle(0.05, seed=1)
    expected = start.copy()
    minimize_rotation_and_translation(target, expected)
    assert aligned(start, target).positions == pytest.approx(expected.positions, abs=1e-6)
    assert rmsd(turned(target), target) == pytest.approx(0, abs=1e-7)


def test_held_atoms_and_crystals_are_not_turned():
    target = molecule("CH3OH")
    start = turned(target)
    start.set_constraint(FixAtoms([0]))
    assert aligned(start, target) == start
    crystal = bulk("Cu", cubic=True)
    shifted = crystal.copy()
    shifted.positions += 0.1
    assert rmsd(shifted, crystal) == pytest.approx(0.1 * np.sqrt(3))


def test_likeness():
    start = molecule("CH3OH")
    assert likeness(turned(start), start) == "identical"
    assert likeness(rotamer(30), rotamer(150)) == "conformer"
    assert likeness(mirrored(rotamer(90)), rotamer(90)) == "conformer"
    broken = start.copy()
    broken.positions[3] += [2.0, 0, 0]
    assert likeness(broken, start) == "other"


def test_paths_between_other_bonds():
    reactant = rotamer(120)
    product = reactant.copy()
    product.positions[3] += [0, 0, 3.0]
    conformer = rotamer(30)
    assert connects((conformer, product), reactant, product)
    assert connects((product, reactant), reactant, product)
    assert not connects((reactant, conformer), reactant, product)
    assert not connects((product, product), reactant, product)


def test_paths_between_conformers_must_end_in_them():
    start = ammonia()
    inverted = start.copy()
    inverted.positions[0, 2] *= -1
    assert likeness(start, inverted) == "conformer"
    assert connects((turned(inverted), start), start, inverted)
    assert not connects((start, start), start, inverted)
