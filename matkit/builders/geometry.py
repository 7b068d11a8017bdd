"""Displacements of atoms, and whether any come too close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

# Draws of a random structure before it is given up.
DRAWS = 20

Random = np.random.Generator


def displaced(atoms: Atoms, amplitude: float, rng: Random) -> Atoms:
    """Return a copy with atoms displaced at random.

    Args:
        atoms: Structure.
        amplitude: Root mean square displacement of an atom, Å.
        rng: Source of the randomness.
    """
    moved = atoms.copy()
    moved.positions += rng.normal(scale=amplitude / np.sqrt(3), size=moved.positions.shape)
    return moved


def approach(atoms: Atoms) -> float:
    """Return the smallest distance of two atoms as part of the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    i, j, distance = neighbor_list("ijd", atoms, [float(radius) for radius in radii])
    return float((distance / (radii[i] + radii[j])).min(initial=np.inf))


def drawn(make: Callable[[], Atoms], closest: float) -> Atoms | None:
    """Return the first of some random structures whose atoms are not too close, None if none."""
    for _ in range(DRAWS):
        atoms = make()
        if approach(atoms) >= closest:
            return atoms
    return None


def tagged(atoms: Atoms, kind: str, group: str, parent: str) -> Atoms:
    """Return a copy that says what it is, what stays together with it, and what it is from.

    Of what the structure said before only its charge is kept.
    """
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {"config_type": kind, "group": group, "parent": parent}
    if "charge" in atoms.info:
        bare.info["charge"] = atoms.info["charge"]
    return bare
