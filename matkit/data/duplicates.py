"""Structures that come twice, within one data set or in two.

Two structures are called equal if they have the same atoms, the same volume, and the same sorted
distances between atoms of each pair of elements, each within a tolerance; crystals must also fall
on each other. So it does not matter how they are turned, moved or mirrored, or in which order
their atoms are; the energies of such structures are equal. Candidates are found from fingerprints,
then they are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from matkit.data.alignment import can_align
from matkit.data.dataset import Dataset
from matkit.data.fingerprints import CUTOFF, Array, Fingerprints, fingerprints, sizes
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.structures import Structures

# Å. Farther atoms are compared only if nothing nearer holds a structure together.
FARTHEST = 20.0
# Numbers of a fingerprint that are searched; more do not tell more structures apart.
SEARCHED = 96
# Candidates for each structure, on average, from which on distances are searched instead.
CROWDED = 4
# Å. Of sums of distances and of the tree's boxes.
ROUNDING = 1e-9
# Structures whose distances are kept for further comparisons.
KEPT = 256
# Atoms of crystals whose distances agree within a tolerance are so many tolerances apart at most.
DISPLACEMENTS = 20.0
_NONE: Array = np.empty(0)


def duplicates(
    a: Dataset, b: Dataset | None = None, tolerance: float = 1e-3
) -> list[tuple[int, int]]:
    """Find equal structures within one data set or between two.

    Args:
        a: Structures.
        b: Other structures, or None to search in `a` alone.
        tolerance: Largest difference of any distance, in Å. Much larger ones make structures
            equal that are not, since many distances are compared without regard to the atoms.

    Returns:
        Pairs (i, j) with structure j of `b` equal to structure i of `a` (of `a` alone: i < j); of
        several i the first one, so that every j comes at most once.
    """
    return equal_structures(a.structures, None if b is None else b.structures, tolerance)


def equal_structures(
    a: Structures, b: Structures | None = None, tolerance: float = 1e-3
) -> list[tuple[int, int]]:
    """Find equal structures of one batch or of two; see `duplicates`."""
    others = None if b is None else fingerprints(b)
    return equal_pairs(a, fingerprints(a), b, others, tolerance)


def equal_pairs(
    a: Structures,
    prints: Fingerprints,
    b: Structures | None,
    others: Fingerprints | None,
    tolerance: float = 1e-3,
) -> list[tuple[int, int]]:
    """Find equal structures when the fingerprints of `a` and `b` are known; see `duplicates`."""
    second, wanted = (a, prints) if b is None or others is None else (b, others)
    sets = (a, second)

    @lru_cache(KEPT)
    def look(which: int, i: int, level: int) -> _Look:
        return _look(sets[which].index([i]), level)

    def are_equal(i: int, j: int) -> bool:
        apart = np.abs(prints.all_rows(i) - wanted.all_rows(j)).max()
        if apart > _reach(wanted, j, tolerance):
            return False
        one, other = sets[0].index([i]), sets[1].index([j])
        if _are_identical(one, other):
            return True
        if not _are_equal(partial(look, 0, i), partial(look, 1, j), tolerance):
            return False
        # Distances add up what atoms differ by.
        return not bool(one.pbc.all()) or can_align(one, other, DISPLACEMENTS * tolerance)

    found = []
    for j, candidates in _candidates(prints, wanted, tolerance, look):
        earlier = (i for i in candidates if i < j or second is not a)
        first = next((i for i in earlier if are_equal(i, j)), None)
        if first is not None:
            found.append((first, j))
    return sorted(found, key=lambda pair: pair[1])


def _candidates(
    prints: Fingerprints, others: Fingerprints, tolerance: float, look: Callable[..., _Look]
) -> Iterator[tuple[int, list[int]]]:
    """Give the structures of `others`, each with those of `prints` that may be equal to it.

    Where fingerprints leave many, as they do of slightly rattled crystals, some sorted distances
    decide, which differ by no more than the tolerance.
    """
    members = _members(others)
    for key, known in _members(prints).items():
        wanted = members.get(key, [])
        if not wanted or (prints is others and len(known) < 2):
            continue
        rows, theirs = prints.rows(known, SEARCHED), others.rows(wanted, SEARCHED)
        # Of exact copies the first one stands for all.
        _, first = np.unique(rows.round(8), axis=0, return_index=True)
        first.sort()
        distinct, tree = np.array(known)[first], cKDTree(rows[first])
        reach = _reach(others, wanted, tolerance)
        counts = tree.query_ball_point(theirs, reach, p=np.inf, return_length=True)
        if counts.sum() > CROWDED * len(wanted):
            pattern = look(0, known[0], 0)
            theirs = _distance_rows(pattern, (look(1, j, 0) for j in wanted))
            ours = theirs[first]
            if prints is not others:
                ours = _distance_rows(pattern, (look(0, i, 0) for i in distinct.tolist()))
            tree, reach = cKDTree(ours), tolerance + ROUNDING
        near = tree.query_ball_point(theirs, reach, p=np.inf)
        for j, which in zip(wanted, near, strict=True):
            yield j, distinct[np.sort(which).astype(np.int64)].tolist()


def _distance_rows(pattern: _Look, looks: Iterable[_Look]) -> Array:
    """Return size and some sorted distances of structures of one composition [B, K].

    Where a structure has fewer distances than the pattern, the next one is beyond its cutoff.
    """
    share = max(1, SEARCHED // max(1, len(pattern.distances)))
    places = {
        key: np.unique(np.linspace(0, len(values) - 1, min(share, len(values))).astype(int))
        for key, values in pattern.distances.items()
    }
    rows = []
    for one in looks:
        parts = [np.array([one.size])]
        for key, which in places.items():
            values = one.distances.get(key, _NONE)
            inside = which[which < len(values)]
            parts.append(np.append(values[inside], np.full(len(which) - len(inside), one.cutoff)))
        rows.append(np.concatenate(parts))
    return np.array(rows)


def _reach(prints: Fingerprints, which: int | list[int], tolerance: float) -> Any:
    """Return how far fingerprints of equal structures may be apart."""
    # Half more than the bound, since the slope of the other structure may be a little larger.
    return 1.5 * tolerance * prints.slopes[which] + 1e-7


def _members(prints: Fingerprints) -> dict[bytes, list[int]]:
    members: dict[bytes, list[int]] = {}
    for i, key in enumerate(prints.compositions):
        members.setdefault(key, []).append(i)
    return members


@dataclass(frozen=True)
class _Look:
    """What is compared of a structure.

    Attributes:
        size: See `Fingerprints.sizes`.
        cutoff: How far is looked, in Å.
        distances: Sorted distances of each pair of elements.
        is_whole: Whether a look farther can tell nothing new.
    """

    size: float
    cutoff: float
    distances: dict[int, Array]
    is_whole: bool


def _look(structure: Structures, level: int) -> _Look:
    """Return the distances within a cutoff that doubles with each level, or all of a molecule."""
    is_molecule = not bool(structure.pbc.any())
    cutoff = _extent(structure) + CUTOFF if is_molecule else CUTOFF * 2**level
    graph = radius_graph(structure, cutoff)
    whole = is_molecule or cutoff >= FARTHEST or _is_connected(graph)
    return _Look(float(sizes(structure)[0]), cutoff, _distances(graph), whole)


def _are_identical(a: Structures, b: Structures) -> bool:
    fields = ("positions", "species", "cell", "pbc")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in fields)


def _are_equal(
    a: Callable[[int], _Look], b: Callable[[int], _Look], tolerance: float, level: int = 0
) -> bool:
    """Whether all distances of two structures of equal composition agree."""
    one, other = a(level), b(level)
    if abs(one.size - other.size) > tolerance or not _same(one, other, tolerance):
        return False
    return one.is_whole or _are_equal(a, b, tolerance, level + 1)


def _same(a: _Look, b: _Look, tolerance: float) -> bool:
    for pair in a.distances.keys() | b.distances.keys():
        lists = a.distances.get(pair, _NONE), b.distances.get(pair, _NONE)
        short, long = sorted(lists, key=len)
        # Atoms near the cutoff may be within it in one structure only.
        if (long[len(short) :] < a.cutoff - tolerance).any():
            return False
        if (np.abs(short - long[: len(short)]) > tolerance).any():
            return False
    return True


def _distances(graph: Graph) -> dict[int, Array]:
    low, high = (
        function(graph.species[graph.center], graph.species[graph.neighbor]).numpy()
        for function in (torch.minimum, torch.maximum)
    )
    pair, distances = low * 1000 + high, graph.vectors.norm(dim=1).numpy()
    return {key: np.sort(distances[pair == key]) for key in np.unique(pair).tolist()}


def _is_connected(graph: Graph) -> bool:
    """Whether the edges hold everything together."""
    n, edges = len(graph.species), (graph.center.numpy(), graph.neighbor.numpy())
    matrix = coo_array((np.ones(len(edges[0])), edges), shape=(n, n))
    return len(edges[0]) > 0 and connected_components(matrix, directed=False)[0] == 1


def _extent(structure: Structures) -> float:
    return float((structure.positions.amax(0) - structure.positions.amin(0)).norm())
