"""Ways to put the atoms of a formula on the Wyckoff positions of a space group.

A position without free coordinates can be used once, the others as often as there are atoms for
them. Ways are counted, and numbered, without listing them: there may be millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import gcd

from matkit.errors import ConfigError
from matkit.symmetry.groups import space_group
from matkit.symmetry.wyckoff import Position, wyckoff_positions

Orbit = tuple[int, int]  # index of a position, index of a species


@dataclass(frozen=True, eq=False)
class Assignments:
    """All ways to put given numbers of atoms on the positions of a group.

    Attributes:
        number: Number of the space group.
        counts: Atoms of each species in the cell.
        conventional: Whether the cell is the conventional one, not a primitive one.
    """

    number: int
    counts: tuple[int, ...]
    conventional: bool = False

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """The group's positions."""
        return wyckoff_positions(self.number)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Atoms in the cell for each position."""
        points = space_group(self.number).centring if self.conventional else 1
        return tuple(points * position.multiplicity for position in self.positions)

    @cached_property
    def total(self) -> int:
        """Number of ways; two that differ by the choice of the origin count as two."""
        return self._ways(0, self.counts)

    def way(self, index: int) -> list[Orbit]:
        """Return one of the ways: position and species of every orbit.

        Raises:
            IndexError: the index is not from 0 to `total` - 1.
        """
        if not 0 <= index < self.total:
            raise IndexError(f"Expected an index from 0 to {self.total - 1}, got {index}.")
        orbits: list[Orbit] = []
        place, left = 0, self.counts
        while any(left):
            for chosen, state in self._choices(place, left):
                if index < (ways := self._ways(*state)):
                    orbits += [chosen] if chosen is not None else []
                    place, left = state
                    break
                index -= ways
        return orbits

    @cached_property
    def _memory(self) -> dict[tuple[int, tuple[int, ...]], int]:
        return {}

    def _ways(self, place: int, left: tuple[int, ...]) -> int:
        """Return in how many ways the atoms that are left go on what follows `place`."""
        if not any(left):
            return 1
        # Species that are still to come at this position are alike, and so are those that passed.
        passed = place % len(left)
        state = place, (*sorted(left[:passed]), *sorted(left[passed:]))
        if state not in self._memory:
            choices = self._choices(*state)
            self._memory[state] = sum(self._ways(*following) for _, following in choices)
        return self._memory[state]

    def _choices(
        self, place: int, left: tuple[int, ...]
    ) -> Iterator[tuple[Orbit | None, tuple[int, tuple[int, ...]]]]:
        """Yield what can be done at a place, and what is left then.

        A place is a position, or, if it can be used again, a position and a species: to take
        species in order counts each way once.
        """
        species = len(left)
        index, first = divmod(place, species)
        if index == len(self.positions):
            return
        free = self.positions[index].free > 0
        yield None, (place + 1 if free else place + species, left)
        for s in range(first, first + 1 if free else species):
            if (rest := left[s] - self.sizes[index]) >= 0:
                following = (*left[:s], rest, *left[s + 1 :])
                yield (index, s), (place if free else place + species, following)


def assignments(number: int, counts: Sequence[int], max_atoms: int) -> Assignments:
    """Return the ways to have such a cell in the group: conventional, or else primitive.

    The formula is that of the cell. In groups with a centred lattice it is taken as that of the
    conventional cell, as Si8 in Fd-3m; where that is impossible, as Si2, as that of a primitive
    cell.

    Args:
        number: Number of the space group.
        counts: Atoms of each species in the cell.
        max_atoms: Largest cell to propose if there is none for these counts.

    Raises:
        ConfigError: the group has no positions for these atoms.
    """
    ways = _possible(number, tuple(counts))
    if ways is None:
        raise ConfigError(_impossible(number, counts, max_atoms))
    return ways


@cache
def is_possible(number: int, counts: tuple[int, ...]) -> bool:
    """Return whether `assignments` finds a way, without saying why not."""
    return _possible(number, counts) is not None


def _possible(number: int, counts: tuple[int, ...]) -> Assignments | None:
    for conventional in (True, False):
        ways = Assignments(number, counts, conventional)
        if ways.total:
            return ways
    return None


def _impossible(number: int, counts: Sequence[int], max_atoms: int) -> str:
    """Return what cannot be, why, and what can."""
    group, unit = space_group(number), gcd(*counts)
    formula = [count // unit for count in counts]
    multiples = range(1, max_atoms // sum(formula) + 1)
    good = [z for z in multiples if _possible(number, tuple(z * count for count in formula))]
    tried = f"{unit} formula unit{'s' if unit > 1 else ''} in the cell"
    hold = {p.multiplicity: p.free for p in wyckoff_positions(number)}
    advice = (
        f"possible are {', '.join(map(str, good))} formula units"
        if good
        else f"no multiple of the formula up to {max_atoms} atoms will do; ask for another group"
    )
    return (
        f"No Wyckoff positions of space group {group.symbol} ({number}) hold "
        f"{'+'.join(map(str, counts))} atoms ({tried}): they come in orbits of "
        f"{', '.join(map(str, sorted(hold)))} in a primitive cell. Of this composition {advice}."
    )
