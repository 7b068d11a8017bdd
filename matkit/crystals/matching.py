"""Which crystals are the same, by pymatgen's StructureMatcher, in parallel and with time-outs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from matkit.crystals.parallel import Pool, with_timeout

if TYPE_CHECKING:
    from pymatgen.core import Structure

Formula = tuple[tuple[int, int], ...]
# Crystals of one formula that are compared with the known ones in one piece of work.
QUERIES = 16


@dataclass(frozen=True)
class Tolerances:
    """Tolerances of a StructureMatcher (Ong et al. 2013).

    Attributes:
        name: What they are called in reports.
        stol: Root mean square displacement, in units of (volume per atom)^(1/3).
        ltol: Relative difference of lengths.
        angle_tol: Difference of angles, in degrees.
    """

    name: str
    stol: float
    ltol: float
    angle_tol: float

    def __str__(self) -> str:
        return f"stol {self.stol}, ltol {self.ltol}, angle {self.angle_tol:g}°"


# Of CDVAE and DiffCSP, and the default of pymatgen.
PUBLISHED = Tolerances("CDVAE", 0.5, 0.3, 10.0)
DEFAULT = Tolerances("pymatgen", 0.3, 0.2, 5.0)


@dataclass(frozen=True)
class Repeats:
    """Which crystals are like others.

    Attributes:
        like: For each crystal the index of one that it matches, or None.
        undecided: Pairs that ran out of time or that the matcher failed on, counted as different.
    """

    like: tuple[int | None, ...]
    undecided: int


def distances(
    pairs: Sequence[tuple[Structure, Structure] | None],
    tolerances: Tolerances,
    pool: Pool,
) -> list[float | None]:
    """Return the root mean square displacement of each pair, over (volume per atom)^(1/3).

    Args:
        pairs: Predicted and true crystal; None where there is no prediction.
        tolerances: Beyond them the pair does not match.
        pool: Where to compute.

    Returns:
        None where they do not match; infinite where that is undecided, as in `Repeats`.
    """
    return pool.map(_distance, [(pair, tolerances, pool.timeout) for pair in pairs])


def repeats_within(
    structures: Sequence[Structure | None], tolerances: Tolerances, pool: Pool
) -> Repeats:
    """Return for each crystal the first one that it matches, or None.

    A crystal is compared with the first one of every group before it, so the outcome can depend
    on the order: the relation is not transitive.
    """
    groups = _by_formula(structures)
    found = pool.map(
        _group, [([structures[i] for i in g], tolerances, pool.timeout) for g in groups.values()]
    )
    like: list[int | None] = [None] * len(structures)
    for members, (firsts, _) in zip(groups.values(), found, strict=True):
        for i, first in zip(members, firsts, strict=True):
            like[i] = None if first is None else members[first]
    return Repeats(tuple(like), sum(count for _, count in found))


def repeats_of(
    structures: Sequence[Structure | None],
    known: Sequence[Structure | None],
    tolerances: Tolerances,
    pool: Pool,
) -> Repeats:
    """Return for each crystal the first known one that it matches, or None."""
    ours, theirs = _by_formula(structures), _by_formula(known)
    parts = [
        (members[start : start + QUERIES], theirs[formula])
        for formula, members in ours.items()
        if formula in theirs
        for start in range(0, len(members), QUERIES)
    ]
    found = pool.map(
        _lookup,
        [
            ([structures[i] for i in queries], [known[i] for i in near], tolerances, pool.timeout)
            for queries, near in parts
        ],
    )
    like: list[int | None] = [None] * len(structures)
    for (queries, near), (firsts, _) in zip(parts, found, strict=True):
        for i, first in zip(queries, firsts, strict=True):
            like[i] = None if first is None else near[first]
    return Repeats(tuple(like), sum(count for _, count in found))


def _formula(structure: Structure) -> Formula:
    """Return atomic numbers with their counts, divided by the greatest common divisor."""
    counts = sorted(Counter(structure.atomic_numbers).items())
    divisor = math.gcd(*(count for _, count in counts))
    return tuple((z, count // divisor) for z, count in counts)


def _by_formula(structures: Sequence[Structure | None]) -> dict[Formula, list[int]]:
    groups: dict[Formula, list[int]] = defaultdict(list)
    for i, structure in enumerate(structures):
        if structure is not None:
            groups[_formula(structure)].append(i)
    return groups


def _matcher(tolerances: Tolerances) -> Any:
    from pymatgen.core.structure_matcher import StructureMatcher

    return StructureMatcher(
        ltol=tolerances.ltol, stol=tolerances.stol, angle_tol=tolerances.angle_tol
    )


def _distance(job: tuple[tuple[Structure, Structure] | None, Tolerances, float]) -> float | None:
    pair, tolerances, timeout = job
    if pair is None:
        return None
    try:
        found = with_timeout(_matcher(tolerances).get_rms_dist, pair, timeout)
    except Exception:  # the matcher raises anything on distorted cells; counted by the caller
        return math.inf
    return None if found is None else float(found[0])


def _group(job: tuple[list[Structure], Tolerances, float]) -> tuple[list[int | None], int]:
    """Return for each crystal of one formula the first of the group it belongs to."""
    structures, tolerances, timeout = job
    reduced = [_reduced(structure, timeout) for structure in structures]
    firsts: list[int] = []
    like: list[int | None] = []
    undecided = 0
    for i, structure in enumerate(reduced):
        first, more = _search(structure, [reduced[k] for k in firsts], tolerances, timeout)
        undecided += more
        like.append(None if first is None else firsts[first])
        if first is None:
            firsts.append(i)
    return like, undecided


def _lookup(
    job: tuple[list[Structure], list[Structure], Tolerances, float],
) -> tuple[list[int | None], int]:
    """Return for each crystal the first candidate that it matches."""
    structures, candidates, tolerances, timeout = job
    reduced = [_reduced(structure, timeout) for structure in candidates]
    found = [_search(_reduced(s, timeout), reduced, tolerances, timeout) for s in structures]
    return [first for first, _ in found], sum(count for _, count in found)


def _reduced(structure: Structure, timeout: float) -> Structure | None:
    """Return the primitive Niggli cell, as the matcher would make it anew for every pair."""
    try:
        niggli = with_timeout(structure.get_reduced_structure, ("niggli",), timeout)
        primitive: Structure = with_timeout(niggli.get_primitive_structure, (), timeout)
    except Exception:  # as in `_distance`
        return None
    return primitive


def _search(
    structure: Structure | None,
    candidates: Sequence[Structure | None],
    tolerances: Tolerances,
    timeout: float,
) -> tuple[int | None, int]:
    """Return the index of the first crystal that matches, and how many pairs are undecided.

    Args:
        structure: In its primitive Niggli cell; None if that could not be found.
        candidates: Likewise.
        tolerances: Of the matcher.
        timeout: Seconds for a pair.
    """
    matcher, undecided = _matcher(tolerances), 0
    fit = partial(matcher.fit, skip_structure_reduction=True)
    for i, other in enumerate(candidates):
        try:
            if structure is None or other is None:
                undecided += 1
            elif with_timeout(fit, (structure, other), timeout):
                return i, undecided
        except Exception:  # as in `_distance`
            undecided += 1
    return None, undecided
