"""Energies, forces and stresses of a moving batch, in which a bad structure costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from matkit.calculator import MatkitCalculator, refuse_coincident, within
from matkit.graph import Graph
from matkit.interfaces import Potential
from matkit.neighbors import radius_graph
from matkit.neighbors.verlet import VerletList
from matkit.simulate.batched.limits import BatchLimit, is_out_of_memory
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
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    problems: dict[int, str] = field(default_factory=dict)


class BatchForces:
    """Evaluates the potentials of a calculator for batches that move, shrink and grow.

    Args:
        calc: Calculator; of a committee results are the means.
        limit: Size of batches, made smaller where memory does not suffice.
    """

    def __init__(self, calc: MatkitCalculator, limit: BatchLimit) -> None:
        self.members: Sequence[Potential] = calc.potentials
        self.device, self.limit = calc.device, limit
        skin, backend = calc.parameters["skin"], calc.parameters["neighbors"]
        self.neighbors = VerletList(calc.neighbors.cutoff, float(skin), backend)

    def __call__(self, structures: Structures) -> Results:
        """Return the results of a batch; its first structures are those that were kept."""
        problems = _impossible(structures)
        if not problems:
            try:
                return self._computed(self.neighbors.graph(structures, self.device))
            except Exception as error:  # whose fault it is shows when they are computed apart
                self._learn(error)
        self.neighbors.keep([])
        return self._apart(structures, problems)

    def keep(self, which: Sequence[int]) -> None:
        """Forget all structures but some, which come first from now on."""
        self.neighbors.keep(which)

    def _computed(self, graph: Graph) -> Results:
        refuse_coincident(graph)
        with self.limit.watched(graph):
            parts = [_evaluated(member, within(graph, member)) for member in self.members]
        energy, forces, stress = (torch.stack(part).mean(0) for part in zip(*parts, strict=True))
        return Results(energy, forces, stress)

    def _apart(self, structures: Structures, problems: dict[int, str]) -> Results:
        """Return the results of the structures that can be computed, found by halving."""
        nothing = structures.positions.new_full
        results = Results(
            nothing((len(structures),), torch.nan),
            nothing((len(structures.species), 3), torch.nan),
            nothing((len(structures), 3, 3), torch.nan),
            problems,
        )
        parts = [[i for i in range(len(structures)) if i not in problems]]
        while parts:
            which = parts.pop()
            if not which:
                continue
            part = structures.index(which)
            try:
                found = self._computed(radius_graph(part.to(self.device), self.neighbors.cutoff))
            except Exception as error:
                self._learn(error)
                if len(which) == 1:
                    problems[which[0]] = _reason(error, part)
                half = len(which) // 2
                parts += [which[:half], which[half:]] if half else []
                continue
            results.energy[which], results.stress[which] = found.energy, found.stress
            results.forces[torch.isin(structures.batch, torch.tensor(which))] = found.forces
        return results

    def _learn(self, error: Exception) -> None:
        if is_out_of_memory(error):
            self.limit.shrink()


def _evaluated(member: Potential, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    result = member(graph)
    energy, forces, stress = result["energy"], result["forces"], result["stress"]
    return energy.detach().double(), forces.detach().double(), stress.detach().double()


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
