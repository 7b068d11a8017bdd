"""Structures that are the same, and those that only look alike."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.properties.identity import geometry_keys
from matkit.structures import cat


def keys(*frames):
    return geometry_keys(cat([from_ase(atoms) for atoms in frames]))


@pytest.mark.parametrize("atoms", [molecule("C6H6"), bulk("TiO", "rocksalt", a=4.2) * (2, 2, 2)])
def test_turned_and_sorted_copies_are_the_same(atoms):
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=1)
    turned = atoms[np.random.default_rng(0).permutation(len(atoms))]
    turned.rotate(50, (1, 2, 3), rotate_cell=True)
    assert len(set(keys(atoms, turned))) == 1


def test_geometries_of_one_molecule_are_not_the_same():
    """Means of three distances agreed for one in two thousand of them."""
    frames = []
    for seed in range(4000):
        atoms = molecule("CH3CH2OCH3")
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    assert len(set(keys(*frames))) == len(frames)


def test_one_atom_that_moved_shows_among_many():
    crystal = bulk("Si", cubic=True) * (3, 3, 3)
    moved = crystal.copy()
    moved.positions[17] += (0.03, 0.0, 0.0)
    assert len(set(keys(crystal, moved))) == 2
