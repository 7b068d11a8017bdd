"""Energies, forces and stresses of a moving batch, in which a bad structure costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from matkit.calculator import MatkitCalculator
from matkit.evaluator import is_out_of_memory, refuse_coincident, within
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.neighbors import radius_graph
from matkit.neighbors.verlet import VerletList
from matkit.replay import Replay, cuda_graphs
from matkit.simulate.batched.limits import BatchLimit
from matkit.structures import Structures

# No crystal has less room at any pressure of a planet, Å³ per atom. What is below would have edges
# without number.
SMALLEST_VOLUME = 0.5


@dataclass(frozen=True)
class Results:
    """What was computed for a batch.

    Attributes:
        energy: [B], eV; not a number where there is a problem.
        forces: [N, 3], eV/Å.
        stress: [B, 3, 3], eV/Å³; not a number where it is not defined.
        problems: Why there is nothing, by the place of a structure in the batch.
        deviation: Standard deviations of the three over the members of a committee.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    problems: dict[int, str] = field(default_factory=dict)
    deviation: tuple[Tensor, Tensor, Tensor] | None = None


class BatchForces:
    """Evaluates the potentials of a calculator for batches that move, shrink and grow.

    Args:
        calc: Calculator; of a committee results are the means.
        limit: Size of batches, made smaller where memory does not suffice.
        replay: Record steps as CUDA graphs on a GPU: for batches that mostly stay the same.
    """

    def __init__(self, calc: MatkitCalculator, limit: BatchLimit, replay: bool = False) -> None:
        self.members: Sequence[Potential] = calc.potentials
        self.device, self.limit = calc.device, limit
        skin, backend = calc.parameters["skin"], calc.parameters["neighbors"]
        self.neighbors = VerletList(calc.neighbors.cutoff, float(skin), backend)
        self._replay: Replay | None = None
        if replay and calc.can_replay:
            record = cuda_graphs(self.device)
            self._replay = Replay(self.members, self.neighbors, self.device, record)

    def __call__(self, structures: Structures) -> Results:
        """Return the results of a batch; its first structures are those that were kept."""
        problems = _impossible(structures)
        if not problems:
            try:
                return self._replayed(structures) or self._ordinary(structures)
            except Exception as error:  # whose fault it is shows when they are computed apart
                self._learn(error)
        self.neighbors.keep([])
        return self._apart(structures, problems)

    def keep(self, which: Sequence[int]) -> None:
        """Forget all structures but some, which come first from now on."""
        self.neighbors.keep(which)

    def _replayed(self, structures: Structures) -> Results | None:
        found = self._replay(structures) if self._replay is not None else None
        return None if found is None else _mean(found, structures.device)

    def _ordinary(self, structures: Structures) -> Results:
        graph = self.neighbors.graph(structures, self.device)
        return self._computed(graph, structures.device)

    def _computed(self, graph: Graph, place: torch.device) -> Results:
        refuse_coincident(graph)
        with self.limit.watched(graph):
            found = [member(within(graph, member)) for member in self.members]
        return _mean(found, place)

    def _apart(self, structures: Structures, problems: dict[int, str]) -> Results:
        """Return the results of the structures that can be computed, found by halving."""
        results = self._nothing(structures, problems)
        parts = [[i for i in range(len(structures)) if i not in problems]]
        while parts:
            which = parts.pop()
            if not which:
                continue
            part = structures.index(which)
            try:
                graph = radius_graph(part.to(self.device), self.neighbors.cutoff)
                found = self._computed(graph, structures.device)
            except Exception as error:
                self._learn(error)
                if len(which) == 1:
                    problems[which[0]] = _reason(error, part)
                half = len(which) // 2
                parts += [which[:half], which[half:]] if half else []
                continue
            _fill(results, found, which, structures)
        return results

    def _nothing(self, structures: Structures, problems: dict[int, str]) -> Results:
        """Return results that are no numbers yet."""
        empty = structures.positions.new_full
        shapes = ((len(structures),), (len(structures.species), 3), (len(structures), 3, 3))
        means, spread = ([empty(shape, torch.nan) for shape in shapes] for _ in range(2))
        deviation = (spread[0], spread[1], spread[2]) if len(self.members) > 1 else None
        return Results(means[0], means[1], means[2], problems, deviation)

    def _learn(self, error: Exception) -> None:
        if is_out_of_memory(error):
            self.limit.shrink()


def _fill(results: Results, found: Results, which: Sequence[int], structures: Structures) -> None:
    """Put what was found for some structures into the results of all."""
    atoms = torch.isin(structures.batch, torch.tensor(which, device=structures.device))
    parts = [
        (
            (results.energy, results.forces, results.stress),
            (found.energy, found.forces, found.stress),
        )
    ]
    if results.deviation is not None and found.deviation is not None:
        parts.append((results.deviation, found.deviation))
    for (energy, forces, stress), (new_energy, new_forces, new_stress) in parts:
        energy[which], stress[which], forces[atoms] = new_energy, new_stress, new_forces


def _mean(found: Sequence[Properties], place: torch.device) -> Results:
    """Return the means over a committee, and the deviations if it has several members."""
    keys: tuple[Literal["energy", "forces", "stress"], ...] = ("energy", "forces", "stress")
    values = [torch.stack([one[key].detach().double() for one in found]).to(place) for key in keys]
    energy, forces, stress = (value.mean(0) for value in values)
    if len(found) == 1:
        return Results(energy, forces, stress)
    spread = [value.std(0, unbiased=False) for value in values]
    return Results(energy, forces, stress, deviation=(spread[0], spread[1], spread[2]))


def _impossible(structures: Structures) -> dict[int, str]:
    """Return which structures no neighbour search can treat, and why."""
    finite = structures.positions.isfinite().all(dim=1)
    strange = torch.zeros(len(structures), dtype=torch.long, device=structures.device)
    strange = strange.index_add(0, structures.batch, (~finite).long())
    numbers = (strange == 0) & structures.cell.isfinite().flatten(1).all(dim=1)
    room = structures.volume / structures.n_atoms
    tight = numbers & structures.pbc.all(dim=1) & (room < SMALLEST_VOLUME)
    bad = (~numbers | tight).nonzero().flatten().tolist()
    return {i: _why(bool(numbers[i]), float(room[i])) for i in bad}


def _why(is_finite: bool, room: float) -> str:
    if not is_finite:
        return "positions or cell became not a number"
    return f"the cell collapsed to {room:.3g} Å³ per atom"


def _reason(error: Exception, structures: Structures) -> str:
    if is_out_of_memory(error):
        return (
            f"the memory does not suffice for this one structure of {len(structures.species)} "
            f"atoms on {structures.device}: take float32, a smaller structure or another device"
        )
    return f"{type(error).__name__}: {error}"
