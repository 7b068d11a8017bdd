"""Find the prototypes of known crystals, and how like their elements are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from matkit.crystals.prototypes import Prototypes
from matkit.elements import SYMBOLS
from matkit.errors import StructureError
from matkit.structures import Structures
from matkit.symmetry.genes import gene_of
from matkit.symmetry.normalizer import canonical_orbits

ELEMENTS = len(SYMBOLS)
# Geometries of a prototype that are kept, and the difference of cells (of the metric tensors at
# unit volume, root mean square) up to which two are one.
GEOMETRIES, UNLIKE = 4, 0.1
# Pairs of crystals of a prototype that count.
PAIRS = 400
# Weight of neighbours in Pettifor's row of elements beside a pair that was seen, and their reach.
PRIOR, REACH = 2.0, 4.0
# Least likeness of an element to itself, and of elements that are never seen in one role.
SAME, NEVER = 4.0, 1e-3


class _KnownCrystal(NamedTuple):
    """One crystal: its prototype, and the element and the atoms of each role."""

    template: tuple[int, tuple[tuple[int, int], ...]]
    elements: tuple[int, ...]
    role: Int[np.ndarray, " n"]
    fractional: Float[np.ndarray, "n 3"]
    cell: Float[np.ndarray, "3 3"]
    group: int


def prototypes_of(
    structures: Structures, volume: Float[np.ndarray, " Z"], rng: np.random.Generator
) -> Prototypes:
    """Return the prototypes of crystals; those without a symmetry that can be found are left out.

    Args:
        structures: Known crystals in primitive cells.
        volume: Volume of an atom of each element, Å³.
        rng: Chooses pairs of crystals where there are many.
    """
    by_template: dict[object, list[_KnownCrystal]] = {}
    for part in structures.split():
        if (known := _known(part)) is not None:
            by_template.setdefault(known.template, []).append(known)
    kept: list[_KnownCrystal] = []
    members: list[tuple[int, tuple[int, ...]]] = []
    for crystals in by_template.values():
        chosen, nearest = _geometries(crystals)
        members += [
            (len(kept) + int(place), one.elements)
            for place, one in zip(nearest, crystals, strict=True)
        ]
        kept += [crystals[i] for i in chosen]
    roles = max(len(one) for _, one in members)
    return Prototypes(
        cell=np.stack([one.cell for one in kept]),
        fractional=np.concatenate([one.fractional for one in kept]),
        role=np.concatenate([one.role for one in kept]),
        n_atoms=np.array([len(one.role) for one in kept]),
        group=np.array([one.group for one in kept]),
        elements=np.array([[*one, *[0] * (roles - len(one))] for _, one in members]),
        geometry=np.array([place for place, _ in members]),
        twin=np.array([_twins(one, roles) for one in kept]),
        likeness=_likeness(list(by_template.values()), rng),
        volume=volume,
    )


def _known(part: Structures) -> _KnownCrystal | None:
    cell, species = part.cell[0].numpy(), part.species.numpy()
    fractional = np.linalg.solve(cell.T, part.positions.numpy().T).T
    try:
        gene = gene_of(cell, fractional, species)
    except StructureError:
        return None
    positions: dict[int, list[int]] = {}
    first = np.unique(gene.orbit, return_index=True)[1]
    for atom in first:
        positions.setdefault(int(species[atom]), []).append(int(gene.position[gene.orbit][atom]))
    elements = tuple(sorted(positions, key=lambda z: (sorted(positions[z]), z)))
    names = {z: index for index, z in enumerate(elements)}
    orbits = [(names[z], place) for z, places in positions.items() for place in places]
    template = gene.number, canonical_orbits(gene.number, orbits)
    role = np.array([names[z] for z in species.tolist()])
    return _KnownCrystal(template, elements, role, fractional % 1, cell, gene.number)


def _twins(one: _KnownCrystal, roles: int) -> list[int]:
    """Return the first role that each may be exchanged with; the number of roles for no role."""
    number, orbits = one.template
    count = len(one.elements)
    twin = list(range(count))
    for a, b in combinations(range(count), 2):
        swapped = [({a: b, b: a}.get(name, name), place) for name, place in orbits]
        if canonical_orbits(number, swapped) == orbits:
            twin[b] = min(twin[a], twin[b])
    return twin + [roles] * (roles - count)


def _geometries(crystals: Sequence[_KnownCrystal]) -> tuple[list[int], Int[np.ndarray, " k"]]:
    """Return which crystals stand for all, and the nearest of these to each."""
    metrics = np.stack(
        [one.cell @ one.cell.T / abs(np.linalg.det(one.cell)) ** (2 / 3) for one in crystals]
    )
    flat = metrics.reshape(len(crystals), 9)
    chosen = [int(np.abs(flat - np.median(flat, axis=0)).sum(axis=1).argmin())]
    while True:
        away = np.sqrt(((flat[:, None] - flat[chosen]) ** 2).mean(axis=2))
        farthest = int(away.min(axis=1).argmax())
        if len(chosen) == GEOMETRIES or away[farthest].min() < UNLIKE:
            return chosen, away.argmin(axis=1)
        chosen.append(farthest)


def _likeness(
    templates: Sequence[Sequence[_KnownCrystal]], rng: np.random.Generator
) -> Float[np.ndarray, "Z Z"]:
    """Return the logarithm of how much more often than by chance two elements share a role."""
    seen = np.zeros((ELEMENTS, ELEMENTS))
    for crystals in templates:
        for _ in range(pairs := min(PAIRS, len(crystals) * (len(crystals) - 1) // 2)):
            one, other = rng.choice(len(crystals), 2, replace=False)
            for a, b in zip(crystals[one].elements, crystals[other].elements, strict=True):
                seen[a, b] += len(crystals) / pairs
                seen[b, a] += len(crystals) / pairs
    near = _neighbours()
    often = seen.sum(axis=1)
    chance = np.outer(often, often) / max(often.sum(), 1)
    found = np.log((seen + PRIOR * near) / (chance + PRIOR * near.mean()) + NEVER)
    np.fill_diagonal(found, np.maximum(found.diagonal(), SAME))
    return found


def _neighbours() -> Float[np.ndarray, "Z Z"]:
    """Return how near elements are in Pettifor's row, from 1 to nearly 0."""
    from pymatgen.core import Element

    known = range(1, 104)
    place = np.array([Element.from_Z(z).mendeleev_no for z in known], dtype=float)
    near = np.zeros((ELEMENTS, ELEMENTS))
    near[1:104, 1:104] = np.exp(-np.abs(place[:, None] - place) / REACH)
    return near
