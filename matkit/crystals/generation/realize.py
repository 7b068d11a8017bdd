"""Coordinates and cells for crystals of which only composition and symmetry are known."""

from __future__ import annotations

import numpy as np
import torch
from ase.data import covalent_radii
from ase.geometry import get_distances
from jaxtyping import Float, Int
from torch import Tensor

from matkit.interfaces import Blueprint
from matkit.structures import Structures, cat
from matkit.symmetry.assignments import Assignments
from matkit.symmetry.cells import Orbit, conventional_basis, lattice, orbit, reduced_basis, starts

# Draws of one crystal; the one whose atoms are farthest apart is taken.
DRAWS = 30
# Part of the sum of two covalent radii that is far enough to stop.
FAR = 0.9


def realize(blueprint: Blueprint, seeds: Int[Tensor, " B"]) -> Structures:
    """Return crystals with random free coordinates and cells that their groups allow.

    The volume is what the blueprint expects (`expected_volume` in Å³), or else the sum of the cubes
    of the atoms' covalent diameters. They are starting points for a relaxation: of some draws the
    one is taken whose atoms are farthest apart.

    Args:
        blueprint: Species, and if it is known the space group with the Wyckoff position of every
            atom; the atoms of an orbit follow each other.
        seeds: Seed of each crystal [B].

    Raises:
        StructureError: the positions do not hold as many atoms as there are.
    """
    parts = blueprint.split()
    return cat([_crystal(part, int(seed)) for part, seed in zip(parts, seeds, strict=True)])


def _crystal(part: Blueprint, seed: int) -> Structures:
    rng = np.random.default_rng(seed % (1 << 63))
    numbers = part.species.numpy()
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for _ in range(DRAWS):
        cell, fractional = _drawn(part, rng)
        distance = _smallest(numbers, cell, fractional)
        if best is None or distance > best[0]:
            best = distance, cell, fractional
        if distance > FAR:
            break
    assert best is not None
    _, cell, fractional = best
    made = Structures(
        positions=torch.from_numpy(fractional @ cell),
        species=part.species,
        cell=torch.from_numpy(cell)[None],
        pbc=torch.ones(1, 3, dtype=torch.bool),
        n_atoms=part.n_atoms,
    )
    return part.mark(made)


def _drawn(part: Blueprint, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a cell [3, 3] in Å and fractional coordinates [N, 3]."""
    number = 1 if part.space_group is None else int(part.space_group)
    conventional = part.conventional is not None and bool(part.conventional)
    shape = rng.normal(size=6)
    basis = conventional_basis(number) if conventional else reduced_basis(number, shape)
    cell = basis @ lattice(number, shape)
    cell = cell * (_volume(part) / abs(np.linalg.det(cell))) ** (1 / 3)
    if part.position is None:
        return cell, rng.random((len(part.species), 3))
    return cell, _places(part, number, conventional, basis, rng)


def _volume(part: Blueprint) -> float:
    if "expected_volume" in part.system:
        return float(part.system["expected_volume"])
    return float(((2 * covalent_radii[part.species.numpy()]) ** 3).sum())


def _places(
    part: Blueprint,
    number: int,
    conventional: bool,
    basis: Float[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "N 3"]:
    """Return the places of all orbits, one after the other."""
    assert part.position is not None
    ways = Assignments(number, (len(part.species),), conventional)
    positions = part.position.tolist()
    orbits = [orbit(ways, positions[start], basis) for start in starts(positions, ways)]
    return np.concatenate([_of_orbit(one, rng) for one in orbits])


def _of_orbit(one: Orbit, rng: np.random.Generator) -> Float[np.ndarray, "m 3"]:
    anchor = one.origin + rng.random(3) @ one.directions
    return (one.rotations @ anchor + one.translations) % 1.0


def _smallest(numbers: np.ndarray, cell: np.ndarray, fractional: np.ndarray) -> float:
    """Return the smallest distance of two atoms in units of the sum of their radii."""
    _, apart = get_distances(fractional @ cell, cell=cell, pbc=True)
    radii = covalent_radii[numbers]
    sums = radii[:, None] + radii[None]
    np.fill_diagonal(apart, np.linalg.norm(cell, axis=1).min())
    return float((apart / sums).min())
