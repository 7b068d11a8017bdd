"""What crystals are to be, as goals that orbits are placed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from matkit.errors import ConfigError
from matkit.interfaces import Condition
from matkit.symmetry.completions import Contents, Formula, Goal, Progress, begun
from matkit.symmetry.groups import space_group

Groups = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Wish:
    """What one crystal is to be; species by their index.

    Attributes:
        group: Number of the space group; None leaves it open.
        atoms: Atoms in the cell; None leaves it open.
        formula: Species and their atoms in the cell; empty leaves them open.
        allowed: Species that may occur.
        required: Species that must.
    """

    group: int | None
    atoms: int | None
    formula: tuple[tuple[int, int], ...]
    allowed: frozenset[int]
    required: frozenset[int]

    def is_open(self, elements: int) -> bool:
        """Return whether every gene of the group will do, given how many species there are."""
        return self.atoms is None and not self.required and len(self.allowed) == elements

    def goals(self, number: int, max_atoms: int) -> tuple[Goal, ...]:
        """Return the goals in a group: for a primitive cell, and for a conventional one.

        Args:
            number: Number of the space group.
            max_atoms: Atoms in the largest primitive cell.
        """
        if self.atoms is None:
            return (Contents(1, max_atoms, len(self.required)),)
        points = space_group(number).centring
        return tuple(
            self._goal(divisor)
            for divisor in sorted({1, points})
            if all(count % divisor == 0 for _, count in self.formula or ((0, self.atoms),))
        )

    def _goal(self, divisor: int) -> Goal:
        if self.formula:
            return Formula(tuple(count // divisor for _, count in self.formula))
        assert self.atoms is not None
        return Contents(self.atoms // divisor, self.atoms // divisor, len(self.required))

    def possible(self, groups: Groups, max_atoms: int) -> tuple[list[Progress], list[int]]:
        """Return a beginning in each group that the wish can come true in, and their frequencies.

        Args:
            groups: Number of each group, and how many crystals of the training set have it.
            max_atoms: Atoms in the largest primitive cell.

        Raises:
            ConfigError: there is none.
        """
        asked = groups if self.group is None else ((self.group, 1),)
        all_starts = [(begun(number, self.goals(number, max_atoms)), n) for number, n in asked]
        starts = [(self._begun(start), n) for start, n in all_starts if any(start.goals)]
        if not starts:
            where = "no space group" if self.group is None else f"space group {self.group}"
            raise ConfigError(
                f"Expected atoms that Wyckoff positions hold; {where} has some for what is asked "
                f"for: {self._text}. Ask for other numbers of atoms, or another group."
            )
        return [start for start, _ in starts], [n for _, n in starts]

    def _begun(self, start: Progress) -> Progress:
        """Return a beginning; of a group that is asked for, of the conventional cell if it can be.

        As `matkit.symmetry.assignments.assignments` has it: Si8 in Fd-3m is diamond.
        """
        if self.group is None or not start.goals[-1]:
            return start
        return replace(start, goals=(*(None for _ in start.goals[:-1]), start.goals[-1]))

    @property
    def _text(self) -> str:
        if self.formula:
            return "+".join(str(count) for _, count in self.formula) + " atoms"
        size = "any number of" if self.atoms is None else str(self.atoms)
        return f"{size} atoms, at least {max(1, len(self.required))} elements"


def wishes(condition: Condition, species: Sequence[int]) -> list[Wish]:
    """Return what each crystal is to be.

    Args:
        condition: A condition on elements that the species hold.
        species: Atomic numbers that the generator knows.
    """
    count, index = len(condition), {z: i for i, z in enumerate(species)}
    groups = [None] * count if condition.space_group is None else condition.space_group.tolist()
    sizes = [None] * count if condition.n_atoms is None else condition.n_atoms.tolist()
    numbers = [torch.zeros(0)] * count
    if condition.species is not None:
        numbers = list(condition.species.cpu().split(sizes))
    allowed, required = (
        [None] * count if table is None else [row.nonzero().flatten().tolist() for row in table]
        for table in (condition.elements, condition.required_elements)
    )
    return [
        Wish(
            groups[b],
            sizes[b],
            _counts([index[z] for z in numbers[b].tolist()]),
            frozenset(index[z] for z in allowed[b] or species if z in index),
            frozenset(index[z] for z in required[b] or ()),
        )
        for b in range(count)
    ]


def _counts(atoms: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return each species once, in order, with its number of atoms."""
    return tuple((one, atoms.count(one)) for one in dict.fromkeys(atoms))
