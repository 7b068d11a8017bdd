"""The loop of batched molecular dynamics: one step for all, and whoever fails leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from matkit.scopes import cat
from matkit.simulate.batched.forces import BatchForces, Results
from matkit.simulate.batched.integrators import (
    DynamicsState,
    ThermostatNoise,
    bath,
    evaluated,
    step,
)
from matkit.simulate.batched.replicas import Replica, snapshots
from matkit.simulate.guard import EVERY, Problem
from matkit.simulate.options import MDOptions
from matkit.simulate.results import MDResult
from matkit.structures import Structures

Ended = tuple[int, MDResult]


class DynamicsLoop:
    """Runs replicas that begin at the same step or from restart files of their own.

    Args:
        replicas: By their numbers in the input.
        forces: Computes batches.
        options: Options of all but for the seed.
        on_step: Called with the steps done and in all.
    """

    def __init__(
        self,
        replicas: dict[int, Replica],
        forces: BatchForces,
        options: MDOptions,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self.replicas, self.forces, self.options = replicas, forces, options
        self.on_step = on_step
        self.state: DynamicsState | None = None

    def run(self, structures: dict[int, Structures]) -> Iterator[Ended]:
        """Give the result of every replica as it ends.

        Args:
            structures: Structures of the replicas by number, each a batch of one.
        """
        starts = [r.first_state(number, structures[number]) for number, r in self.replicas.items()]
        self.state = state = cat(starts)
        yield from self._compute(state)
        if self.options.equil_steps and all(r.saved is None for r in self.replicas.values()):
            yield from self._equilibrate()
        yield from self._open()
        steps = {number: replica.first for number, replica in self.replicas.items()}
        while self.state is not None:
            yield from self._let_go(self._finished(steps))
            if self.state is None:
                return
            yield from self._step(steps)

    def under_way(self) -> Iterator[Ended]:
        """Give the results of the replicas that run: the user stopped them."""
        state, self.state = self.state, None
        for number in [] if state is None else state.number.tolist():
            yield number, self.replicas.pop(number).close(("interrupted", "stopped by the user"))

    def _step(self, steps: dict[int, int]) -> Iterator[Ended]:
        """Take one step of every replica."""
        assert self.state is not None
        for number in self._numbers():
            steps[number] += 1
        step = max(steps[number] for number in self._numbers())
        yield from self._move(self.options, [steps[number] for number in self._numbers()])
        if self.state is None:
            return
        problems = self._tested(steps)
        saved = any(self.replicas[n].saves(steps[n]) for n in self._numbers())
        yield from self._let_go(problems)
        if saved:  # a run that goes on from its file has no neighbour list either
            self.forces.keep([])
        if self.on_step is not None:
            self.on_step(step, self.options.steps)

    def _move(self, options: MDOptions, steps: Sequence[int]) -> Iterator[Ended]:
        """Move all atoms by one step of a method, and compute them there."""
        assert self.state is not None
        noise, constants = self._noise(options.method), bath(options, steps)
        self.state, results = step(self.state, self.forces, options.method, noise, constants)
        yield from self._let_go(_problems(results))

    def _compute(self, state: DynamicsState) -> Iterator[Ended]:
        results = self.forces(state)
        self.state = evaluated(state, results)
        yield from self._let_go(_problems(results))

    def _equilibrate(self) -> Iterator[Ended]:
        """Take the unrecorded steps of Langevin dynamics at the first temperature."""
        changes = {"ensemble": "nvt", "thermostat": "langevin", "temperature_end": None}
        langevin = self.options.model_copy(update=changes)
        for count in range(1, self.options.equil_steps + 1):
            if self.state is None:
                return
            yield from self._move(langevin, [0] * len(self.state))
            if self.state is None:
                return
            yield from self._let_go(self._exploded("during equilibration: "))
            if self.on_step is not None and count % EVERY == 0:
                self.on_step(0, self.options.steps)

    def _open(self) -> Iterator[Ended]:
        if self.state is None:
            return
        problems = {}
        for i, (number, now) in enumerate(zip(self._numbers(), snapshots(self.state), strict=True)):
            if (problem := self.replicas[number].open(now)) is not None:
                problems[i] = problem
        yield from self._let_go(problems)

    def _tested(self, steps: dict[int, int]) -> dict[int, Problem]:
        """Return what is wrong with which place of the batch, and record what is due."""
        assert self.state is not None
        problems = self._exploded()
        numbers = self._numbers()
        due = [i for i, n in enumerate(numbers) if self.replicas[n].is_due(steps[n])]
        if not due:
            return problems
        now = snapshots(self.state)
        for i in due:
            problem = self.replicas[numbers[i]].advance(steps[numbers[i]], now[i])
            if problem is not None:
                problems[i] = problem
        return problems

    def _exploded(self, when: str = "") -> dict[int, Problem]:
        """Return which places of the batch hold no numbers, or are too hot."""
        assert self.state is not None
        state = self.state
        wrong = _any_atom(~state.momenta.isfinite().all(dim=1), state)
        wrong |= _any_atom(~state.forces.isfinite().all(dim=1), state) | ~state.energy.isfinite()
        problems: dict[int, Problem] = {}
        for i in wrong.nonzero().flatten().tolist():
            problems[i] = "nan", f"{when}energy, forces or momenta are not a number"
        temperatures = state.temperature.tolist()
        for i, number in enumerate(self._numbers()):
            limit = self.replicas[number].hottest()
            if i not in problems and temperatures[i] > limit:
                words = f"the temperature is {temperatures[i]:.0f} K, above {limit:.0f} K"
                problems[i] = "exploded", f"{when}{words} (max_temperature)"
        return problems

    def _finished(self, steps: dict[int, int]) -> dict[int, Problem]:
        numbers = enumerate(self._numbers())
        return {i: ("done", "") for i, n in numbers if steps[n] >= self.options.steps}

    def _let_go(self, problems: dict[int, Problem]) -> Iterator[Ended]:
        """End replicas, by their places in the batch."""
        if not problems or self.state is None:
            return
        numbers = self._numbers()
        rest = [i for i in range(len(numbers)) if i not in problems]
        self.state = self.state.index(rest) if rest else None
        self.forces.keep(rest)
        for i, problem in problems.items():
            yield numbers[i], self.replicas.pop(numbers[i]).close(problem)

    def _numbers(self) -> list[int]:
        return [] if self.state is None else self.state.number.tolist()

    def _noise(self, method: str) -> ThermostatNoise | None:
        """Return random numbers, those of every replica from its own generator, as ASE draws."""
        assert self.state is not None
        if method == "nve":
            return None
        generators = [self.replicas[number].rng for number in self._numbers()]
        counts = self.state.n_atoms.tolist()
        if method == "langevin":
            pairs = [
                (rng.standard_normal((n, 3)), rng.standard_normal((n, 3)))
                for rng, n in zip(generators, counts, strict=True)
            ]
        else:
            others = [0.5 * (freedom - 1) for freedom in self.state.freedom.tolist()]
            pairs = [
                (np.array([rng.standard_normal()]), np.array([2 * rng.standard_gamma(shape)]))
                for rng, shape in zip(generators, others, strict=True)
            ]
        first, second = zip(*pairs, strict=True)
        return ThermostatNoise(
            *(torch.from_numpy(np.concatenate(array)) for array in (first, second))
        )


def _problems(results: Results) -> dict[int, Problem]:
    return {i: ("error", text) for i, text in results.problems.items()}


def _any_atom(by_atom: Tensor, state: Structures) -> Tensor:
    """Return which structures have an atom that is marked [B]."""
    count = torch.zeros_like(state.n_atoms).index_add(0, state.batch, by_atom.long())
    return count > 0
