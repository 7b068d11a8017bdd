"""Whether two crystals are the same: some rotation and shift puts one on the other.

Distances alone do not say so. A lattice can be occupied in different ways that share them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from ase.geometry import minkowski_reduce

from matkit.data.fingerprints import Array
from matkit.structures import Structures

# Lattice steps tried along each reduced vector, to find one of a given length.
STEPS = np.array(list(product(range(-2, 3), repeat=3)))


def can_align(a: Structures, b: Structures, tolerance: float) -> bool:
    """Whether some rotation or reflection, and a shift, puts crystal `b` on crystal `a`.

    Args:
        a: One structure, periodic along three axes.
        b: Another one of equal composition.
        tolerance: Largest distance between atoms that fall on each other, in Å.
    """
    cell, places = _reduced(a)
    other, moved = _reduced(b)
    species, others = a.species.numpy(), b.species.numpy()
    order, other_order = np.argsort(species, kind="stable"), np.argsort(others, kind="stable")
    places, moved, species = places[order], moved[other_order], species[order]
    kinds, counts = np.unique(species, return_counts=True)
    rarest = species == kinds[counts.argmin()]
    anchor = places[rarest][0]
    for steps in _isometries(cell, other, tolerance):
        turned = moved @ np.linalg.inv(steps)
        for start in turned[rarest]:
            if _covers(places, turned + anchor - start, species, cell, tolerance):
                return True
    return False


def _reduced(structure: Structures) -> tuple[Array, Array]:
    """Return a cell of short vectors, and fractional coordinates in it."""
    cell = np.asarray(minkowski_reduce(structure.cell[0].numpy())[0])
    return cell, np.linalg.solve(cell.T, structure.positions.numpy().T).T


def _isometries(a: Array, b: Array, tolerance: float) -> Iterator[Array]:
    """Give integer matrices M for which the vectors M b have the lengths and angles of a."""
    lattice, wanted = STEPS @ b, a @ a.T
    squares = (lattice**2).sum(axis=1)
    # A vector that is longer by the tolerance has a square that is larger by this.
    slack = 2 * tolerance * np.sqrt(wanted.diagonal().max())
    first, second, third = (np.flatnonzero(np.abs(squares - d) < slack) for d in wanted.diagonal())
    for i, j in product(first, second):
        if abs(lattice[i] @ lattice[j] - wanted[0, 1]) > slack:
            continue
        fits = np.abs(lattice[third] @ lattice[i] - wanted[0, 2]) < slack
        fits &= np.abs(lattice[third] @ lattice[j] - wanted[1, 2]) < slack
        yield from (STEPS[[i, j, k]].astype(float) for k in third[fits])


def _covers(a: Array, b: Array, species: np.ndarray, cell: Array, tolerance: float) -> bool:
    """Whether every atom of `a` has one of `b` on it; both are sorted by element."""
    for kind in np.unique(species):
        difference = a[species == kind][:, None] - b[species == kind][None]
        difference -= difference.round()
        apart = np.sqrt(((difference @ cell) ** 2).sum(axis=-1))
        if (apart.min(axis=1) > tolerance).any():
            return False
    return True
