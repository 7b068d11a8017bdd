"""The loop of batched relaxation: fill, step, let go what has ended, fill again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.scopes import cat
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.relax_state import RelaxState, evaluated, init, joined, kept, moved
from matkit.simulate.batched.starts import Queue, Start
from matkit.simulate.batched.symmetrizing import BatchedOperations, operations
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import Reason

End = tuple[Reason, str]


@dataclass(frozen=True)
class Finished:
    """A structure that has left the batch.

    Attributes:
        start: As it began.
        state: Its last good state (a batch of one); None if it could not be computed at all.
        initial_energy: Energy before the first step, eV.
        reason: How it ended.
        message: More on what went wrong.
    """

    start: Start
    state: RelaxState | None
    initial_energy: float
    reason: Reason
    message: str = ""


class RelaxationLoop:
    """Relaxes what comes out of a queue.

    Args:
        queue: Structures that wait.
        forces: Computes batches.
        options: How to relax.

    Attributes:
        state: Structures that are under way; None if there are none.
    """

    def __init__(self, queue: Queue, forces: BatchForces, options: RelaxOptions) -> None:
        self.queue, self.forces, self.options = queue, forces, options
        self.state: RelaxState | None = None
        self._initial: dict[int, float] = {}
        self._group: tuple[list[int], BatchedOperations | None] = ([], None)

    def run(self) -> Iterator[Finished]:
        """Give structures as they end."""
        while (batch := self._next_batch()) is not None:
            yield from self._evaluate(batch)

    def under_way(self) -> Iterator[Finished]:
        """Give the structures that are under way, as they are: the user stopped them."""
        state, self.state = self.state, None
        for i in range(0 if state is None else len(state)):
            assert state is not None
            yield self._finished(state.index([i]), ("interrupted", ""))

    def _next_batch(self) -> RelaxState | None:
        """Return what is under way, one step on, and what there is room for."""
        active = [] if self.state is None else self.state.number.tolist()
        starts = self.queue.taken(active)
        parts = [] if self.state is None else [moved(self.state, self.options)]
        parts += [self._new(starts)] if starts else []
        return joined(*parts) if len(parts) == 2 else next(iter(parts), None)

    def _new(self, starts: Sequence[Start]) -> RelaxState:
        structures = cat([start.structures for start in starts]).to(self.forces.device)
        number = torch.tensor([start.number for start in starts], device=structures.device)
        fixed = torch.cat([start.fixed for start in starts]).to(structures.device)
        return init(structures, self.options, number, fixed)

    def _evaluate(self, batch: RelaxState) -> Iterator[Finished]:
        """Compute a batch, keep what goes on, and give what has ended."""
        before = self.state
        results = self.forces(batch)
        state = evaluated(batch, results, self.options, self._operations(batch))
        ends: dict[int, End] = dict.fromkeys(_not_finite(state), ("nan", _NOT_A_NUMBER))
        ends |= {i: ("error", text) for i, text in results.problems.items()}
        self._initial |= _first_energies(state)
        good = self._ends(state, ends)
        rest = [i for i in range(len(state)) if i not in ends and i not in good]
        if len(rest) == len(state):
            self.state = state
            return
        self.state = kept(state, rest) if rest else None
        self.forces.keep(rest)
        for i, end in ends.items():
            was_under_way = before is not None and i < len(before)
            last = before.index([i]) if was_under_way and before is not None else None
            yield self._finished(last, end, self.queue.starts[int(state.number[i])])
        for i, end in good.items():
            yield self._finished(state.index([i]), end)

    def _ends(self, state: RelaxState, bad: dict[int, End]) -> dict[int, End]:
        """Return which structures have ended as they should, or at the number of steps."""
        converged = (state.max_force < self.options.fmax) & (state.max_stress < self.options.smax)
        late = state.steps >= self.options.steps
        ended = (converged | late).nonzero().flatten().tolist()
        return {
            i: ("converged" if bool(converged[i]) else "max_steps", "")
            for i in ended
            if i not in bad
        }

    def _finished(self, state: RelaxState | None, end: End, start: Start | None = None) -> Finished:
        if start is None:
            assert state is not None
            start = self.queue.starts[int(state.number[0])]
        del self.queue.starts[start.number]
        energy = self._initial.pop(start.number, float("nan"))
        return Finished(start, state, energy, *end)

    def _operations(self, batch: RelaxState) -> BatchedOperations | None:
        """Return the symmetry of a batch, prepared when its structures change."""
        if not self.options.fix_symmetry:
            return None
        numbers = batch.number.tolist()
        if self._group[0] != numbers:
            kept_symmetry = [self.queue.starts[number].symmetry for number in numbers]
            self._group = numbers, operations(kept_symmetry, batch)
        return self._group[1]


_NOT_A_NUMBER = "energy or forces became not a number; the last good frame is kept"


def _not_finite(state: RelaxState) -> list[int]:
    wrong = _any_atom(~state.forces.isfinite().all(dim=1), state) | ~state.energy.isfinite()
    return wrong.nonzero().flatten().tolist()


def _any_atom(by_atom: Tensor, state: RelaxState) -> Tensor:
    count = torch.zeros_like(state.n_atoms).index_add(0, state.batch, by_atom.long())
    return count > 0


def _first_energies(state: RelaxState) -> dict[int, float]:
    new = state.steps == 0
    return dict(zip(state.number[new].tolist(), state.energy[new].tolist(), strict=True))
