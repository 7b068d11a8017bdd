"""Structures that wait for a place in a batch, largest first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixSymmetry
from torch import Tensor

from matkit.conditions import NEUTRAL
from matkit.simulate.batched.limits import BatchLimit
from matkit.simulate.constraints import Held
from matkit.structures import Structures


@dataclass(frozen=True)
class Start:
    """A structure that may enter a batch.

    Attributes:
        number: Its place in the input.
        atoms: The structure with its own constraints, as it begins.
        structures: The same as a batch of one.
        symmetry: Symmetry to keep; None for none.
        held: Its constraints, symmetry among them.
    """

    number: int
    atoms: Atoms
    structures: Structures
    symmetry: FixSymmetry | None
    held: Held

    @cached_property
    def fixed(self) -> Tensor:
        """Atoms that are held [N]."""
        return fixed_atoms(self.atoms)


def fixed_atoms(atoms: Atoms) -> Tensor:
    """Return which atoms `FixAtoms` holds [N]."""
    mask = torch.zeros(len(atoms), dtype=torch.bool)
    for constraint in atoms.constraints:
        mask[torch.as_tensor(constraint.get_indices())] = True
    return mask


def with_conditions(structures: Structures, conditions: Collection[str]) -> Structures:
    """Return structures with just the charge and multiplicity that a model asks for."""
    ones = structures.positions.new_ones(len(structures))
    system = {
        key: structures.system.get(key, neutral * ones)
        for key, neutral in NEUTRAL.items()
        if key in conditions
    }
    return structures.replace(system=system)


def only_fixed_atoms(atoms: Atoms) -> bool:
    """Return whether all constraints of a structure are ones that batches know."""
    return all(isinstance(constraint, FixAtoms) for constraint in atoms.constraints)


class Queue:
    """Gives structures to a batch as long as there is room.

    Args:
        frames: The structures by their number in the input.
        prepare: Makes a start of a structure and its number, or raises what is wrong with it.
        limit: Size of batches.
        fail: Called with the number of a structure that cannot begin and the reason.
    """

    def __init__(
        self,
        frames: Mapping[int, Atoms],
        prepare: Callable[[int, Atoms], Start],
        limit: BatchLimit,
        fail: Callable[[int, Exception], None],
    ) -> None:
        self.frames, self.prepare, self.limit, self.fail = frames, prepare, limit, fail
        self.starts: dict[int, Start] = {}
        self._waiting = self._prepared()
        self._next: Start | None = None
        self._edges: dict[int, float] = {}

    def taken(self, active: Sequence[int]) -> list[Start]:
        """Return the starts that fit into a batch of which some are active."""
        self._edges = {number: self._edges[number] for number in active}
        new: list[Start] = []
        while True:
            self._next = self._next or next(self._waiting, None)
            if self._next is None:
                return new
            edges = self.limit.expected_edges(self._next.structures)
            if not self.limit.admits(len(self._edges) + 1, sum(self._edges.values()) + edges):
                return new
            self._edges[self._next.number] = edges
            self.starts[self._next.number] = self._next
            new.append(self._next)
            self._next = None

    def _prepared(self) -> Iterator[Start]:
        for number in sorted(self.frames, key=lambda i: -len(self.frames[i])):
            try:
                yield self.prepare(number, self.frames[number])
            except Exception as error:  # of one structure among many
                self.fail(number, error)
