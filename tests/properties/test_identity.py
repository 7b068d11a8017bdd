"""Structures that are the same, and those that only look alike."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.properties.entries import PropertyEntries
from matkit.properties.identity import identities, molecule_names, shared_structures
from matkit.structures import cat


def entries(*frames, smiles=""):
    names = tuple(f"a.xyz[{i}]" for i in range(len(frames)))
    structures = cat([from_ase(atoms) for atoms in frames])
    return PropertyEntries(structures, names, (smiles,) * len(frames), {})


def turned(atoms, decimals=16):
    """Return a copy with other axes and another order of atoms, as a file rounds it."""
    copy = atoms[np.random.default_rng(0).permutation(len(atoms))]
    copy.rotate(50, (1, 2, 3), rotate_cell=True)
    copy.positions = copy.positions.round(decimals)
    return copy


@pytest.mark.parametrize("decimals", [4, 16])
@pytest.mark.parametrize("atoms", [molecule("C6H6"), bulk("TiO", "rocksalt", a=4.2) * (2, 2, 2)])
def test_turned_and_sorted_copies_are_the_same(atoms, decimals):
    atoms = atoms.copy()
    for seed in range(8):
        atoms.rattle(0.1, seed=seed)
        both = entries(atoms, turned(atoms, decimals))
        assert molecule_names(both) == ["0", "0"]
        assert identities(both) == [" 0", " 0"]
        other = entries(molecule("H2"), turned(atoms, decimals))
        assert shared_structures(entries(molecule("H2O"), atoms), other) == [(1, 1)]


def test_geometries_of_one_molecule_are_not_the_same():
    """Means of three distances agreed for one in two thousand of them."""
    frames = []
    for seed in range(1000):
        atoms = molecule("CH3CH2OCH3")
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    assert len(set(identities(entries(*frames, smiles="CCOC")))) == len(frames)


def test_one_atom_that_moved_shows_among_many():
    crystal = bulk("Si", cubic=True) * (3, 3, 3)
    moved = crystal.copy()
    moved.positions[17] += (0.03, 0.0, 0.0)
    assert len(set(molecule_names(entries(crystal, moved)))) == 2
    assert not shared_structures(entries(crystal), entries(moved))


def test_molecules_of_one_name_are_the_same_whatever_their_geometry():
    straight, bent = molecule("CH3CH2OCH3"), molecule("CH3CH2OCH3")
    bent.rattle(0.1, seed=1)
    first, second = entries(straight, smiles="CCOC"), entries(bent, smiles="CCOC")
    assert shared_structures(first, second) == [(0, 0)]
