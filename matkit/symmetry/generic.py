"""The group that crystals of an assignment have when nothing about them is special."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from matkit.symmetry.assignments import Assignments
from matkit.symmetry.cells import lattice, orbit
from matkit.symmetry.datasets import symmetry_dataset

# Å for cells of about 1 Å³ an atom; coordinates drawn at random are not symmetric by chance.
SYMPREC = 1e-4
DRAWS = 3


@lru_cache(maxsize=100_000)
def generic_group(number: int, orbits: tuple[tuple[int, int], ...]) -> int:
    """Return the number of the group of crystals with generic free coordinates and lattice.

    Atoms on special positions alone may have more symmetry than was asked for: those on 16c and
    16d of Fd-3m together are a simple cubic lattice. It is the number of the group asked for, or
    that of a group with more operations.

    Args:
        number: Number of the group asked for.
        orbits: Wyckoff position of each orbit, and a number for its species.
    """
    ways = Assignments(number, (1,))  # its counts have no say here
    parts = [(orbit(ways, position, np.eye(3)), species) for position, species in orbits]
    for seed in range(DRAWS):  # atoms may come upon each other by chance
        rng = np.random.default_rng(seed)
        size = sum(len(one.rotations) for one, _ in parts)
        cell = lattice(number, rng.normal(size=6)) * size ** (1 / 3)
        places, kinds = [], []
        for one, species in parts:
            anchor = one.origin + rng.random(3) @ one.directions
            places.append(one.rotations @ anchor + one.translations)
            kinds += [species + 1] * len(one.rotations)
        found = symmetry_dataset((cell, np.concatenate(places), kinds), SYMPREC)
        if found is not None:
            return int(found.number)
    return number
