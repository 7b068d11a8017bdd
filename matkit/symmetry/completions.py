"""What can still become of a crystal of which some orbits are placed.

A position without free coordinates can be used once. Whoever places one orbit after the other must
know, to end nowhere, whether the positions that are left hold the atoms that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product

import numpy as np
from jaxtyping import Bool

from matkit.symmetry.wyckoff import wyckoff_positions

Unused = tuple[int, ...]  # positions without free coordinates that are left, by size


@dataclass(frozen=True)
class Formula:
    """A goal: given numbers of atoms of given species.

    Attributes:
        left: Atoms of each species that are not yet placed in the primitive cell.
    """

    left: tuple[int, ...]

    @property
    def kinds(self) -> int:
        """How many kinds of orbits there are: the species."""
        return len(self.left)

    @property
    def is_reached(self) -> bool:
        """Whether there may be no further orbit."""
        return not any(self.left)

    def placed(self, kind: int, size: int) -> Formula | None:
        """Return what is left once an orbit of a species is placed; None if that is too much."""
        rest = self.left[kind] - size
        return None if rest < 0 else Formula((*self.left[:kind], rest, *self.left[kind + 1 :]))

    def fits(self, number: int, unused: Unused) -> bool:
        """Return whether what is left can be placed."""
        return _hold(number, unused, tuple(sorted(self.left)))


@dataclass(frozen=True)
class Contents:
    """A goal: a number of atoms, and elements that must occur.

    Attributes:
        least: Atoms that must still be placed in the primitive cell.
        most: Atoms that may.
        missing: Elements that must still occur.
    """

    least: int
    most: int
    missing: int = 0
    kinds = 2  # of an element that is missing, of another one

    @property
    def is_reached(self) -> bool:
        """Whether there may be no further orbit."""
        return self.least <= 0 and not self.missing

    def placed(self, kind: int, size: int) -> Contents | None:
        """Return what is left once an orbit is placed; None if that is too much."""
        missing = self.missing - (kind == 0)
        if size > self.most or missing < 0:
            return None
        return Contents(max(0, self.least - size), self.most - size, missing)

    def fits(self, number: int, unused: Unused) -> bool:
        """Return whether what is left can be placed."""
        sizes = range(self.most, self.least - 1, -1)
        return self.is_reached or any(
            _most_orbits(number, unused, n) >= self.missing for n in sizes
        )


Goal = Formula | Contents


@dataclass(frozen=True)
class Progress:
    """Orbits placed so far, and what is to be reached: one goal of several.

    Attributes:
        number: Number of the space group.
        used: Positions without free coordinates that are taken.
        goals: What is left to each of the goals; None where one cannot be reached any more.
    """

    number: int
    used: frozenset[int]
    goals: tuple[Goal | None, ...]

    @property
    def is_reached(self) -> tuple[bool, ...]:
        """Which of the goals are reached."""
        return tuple(goal is not None and goal.is_reached for goal in self.goals)

    def placed(self, kind: int, position: int) -> Progress:
        """Return the progress once an orbit is placed."""
        one = wyckoff_positions(self.number)[position]
        used = self.used if one.free else self.used | {position}
        after = [_after(self.number, used, g, kind, one.multiplicity) for g in self.goals]
        return replace(self, used=used, goals=tuple(after))


@lru_cache(maxsize=1 << 17)
def possible_orbits(progress: Progress) -> Bool[np.ndarray, "kinds n"]:
    """Return which kinds of orbits can be placed on which positions, with a goal in reach."""
    positions = wyckoff_positions(progress.number)
    kinds = max((goal.kinds for goal in progress.goals if goal is not None), default=0)
    table = np.zeros((kinds, len(positions)), dtype=bool)
    for kind, index in product(range(kinds), range(len(positions))):
        if index not in progress.used:
            table[kind, index] = any(progress.placed(kind, index).goals)
    return table


def begun(number: int, goals: tuple[Goal, ...]) -> Progress:
    """Return the progress before the first orbit."""
    unused = _unused(number, frozenset())
    possible = tuple(goal if goal.fits(number, unused) else None for goal in goals)
    return Progress(number, frozenset(), possible)


@lru_cache(maxsize=1 << 17)
def _after(
    number: int, used: frozenset[int], goal: Goal | None, kind: int, size: int
) -> Goal | None:
    after = None if goal is None else goal.placed(kind, size)
    return after if after is not None and after.fits(number, _unused(number, used)) else None


@cache
def _sizes(number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of positions without free coordinates, and of those with."""
    positions = wyckoff_positions(number)
    fixed = {p.multiplicity for p in positions if not p.free}
    return tuple(sorted(fixed)), tuple(sorted({p.multiplicity for p in positions if p.free}))


@cache
def _unused(number: int, used: frozenset[int]) -> Unused:
    left = [
        p.multiplicity
        for i, p in enumerate(wyckoff_positions(number))
        if not p.free and i not in used
    ]
    return tuple(left.count(size) for size in _sizes(number)[0])


@lru_cache(maxsize=1 << 17)
def _hold(number: int, unused: Unused, left: tuple[int, ...]) -> bool:
    """Return whether positions hold given numbers of atoms, of different species."""
    if not any(left):
        return True
    fixed, free = _sizes(number)
    for taken in product(*[range(count + 1) for count in unused]):
        rest = left[-1] - sum(t * size for t, size in zip(taken, fixed, strict=True))
        if rest >= 0 and _most_parts(free, rest) >= 0:
            after = tuple(count - t for count, t in zip(unused, taken, strict=True))
            if _hold(number, after, left[:-1]):
                return True
    return False


@lru_cache(maxsize=1 << 17)
def _most_orbits(number: int, unused: Unused, atoms: int) -> int:
    """Return in how many orbits a number of atoms can be at most; -1 if it cannot be at all."""
    fixed, free = _sizes(number)
    best = -1
    for taken in product(*[range(count + 1) for count in unused]):
        rest = atoms - sum(t * size for t, size in zip(taken, fixed, strict=True))
        if rest >= 0 and (parts := _most_parts(free, rest)) >= 0:
            best = max(best, sum(taken) + parts)
    return best


@cache
def _most_parts(sizes: tuple[int, ...], total: int) -> int:
    """Return in how many parts of given sizes a number can be divided at most, -1 if in none."""
    if total <= 0:
        return 0 if total == 0 else -1
    return max((1 + p for s in sizes if (p := _most_parts(sizes, total - s)) >= 0), default=-1)
