"""Predictions for many structures, in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import cast

import torch

from matkit.derivatives import DERIVED, ForceField
from matkit.errors import StructureError
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.replay import COINCIDENT
from matkit.structures import Structures

# Atoms of a batch, which bound its memory.
BATCH_ATOMS = 2000


def predict(
    model: ForceField,
    structures: Structures,
    properties: Collection[str] = DERIVED,
    on_batch: Callable[[int, int], None] | None = None,
    batch_atoms: int | None = None,
) -> Properties:
    """Return energy [B], forces [N, 3] and stress [B, 3, 3] of all structures, on the CPU, float64.

    Args:
        model: Potential with derivatives.
        structures: Any number of structures.
        properties: Which of `energy`, `forces`, `stress`.
        on_batch: Called with the number of structures done and in all.
        batch_atoms: Most atoms of a batch; `BATCH_ATOMS` if not given. Batches that the memory does
            not suffice for are halved.
    """
    parts: dict[str, list[torch.Tensor]] = {key: [] for key in properties}
    for which in batches(structures, batch_atoms):
        for result in _evaluated(model, structures, which, properties):
            for key, values in parts.items():
                values.append(result[key].detach().double().cpu())
        if on_batch is not None:
            on_batch(which[-1] + 1, len(structures))
    return Properties(**{key: torch.cat(values) for key, values in parts.items()})  # type: ignore[typeddict-item]


def _evaluated(
    model: ForceField, structures: Structures, which: range, properties: Collection[str]
) -> Iterator[dict[str, torch.Tensor]]:
    """Give the results of some structures, in smaller parts if the memory asks for it."""
    device = next(model.parameters()).device
    try:
        graph = model.featurize(structures.index(which)).to(device)
        result = model(graph, properties, differentiable=False)
    except Exception as error:
        if len(which) == 1 or not is_out_of_memory(error):
            raise
        half = len(which) // 2
        yield from _evaluated(model, structures, which[:half], properties)
        yield from _evaluated(model, structures, which[half:], properties)
    else:
        yield cast(dict[str, torch.Tensor], result)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory did not suffice."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or (
        isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)
    )


def committee_prediction(
    members: Sequence[ForceField],
    structures: Structures,
    on_batch: Callable[[int, int], None] | None = None,
) -> tuple[Properties, Properties | None]:
    """Return the mean of what `predict` gives, and the standard deviation over several members.

    Args:
        members: Potentials, at least one.
        structures: Any number of structures.
        on_batch: Called with the number of predicted structures done and in all, of all members.
    """
    mean: dict[str, torch.Tensor] = {}
    squares: dict[str, torch.Tensor] = {}
    for number, member in enumerate(members):
        show = None if on_batch is None else partial(_of_all, on_batch, number, len(members))
        values = cast(dict[str, torch.Tensor], predict(member, structures, on_batch=show))
        for key, value in values.items():
            # Welford (1962): no large numbers are subtracted, and one member is kept at a time.
            before = mean.get(key, torch.zeros_like(value))
            mean[key] = before + (value - before) / (number + 1)
            squares[key] = squares.get(key, 0) + (value - before) * (value - mean[key])
    if len(members) == 1:
        return cast(Properties, mean), None
    deviation = {key: (value / len(members)).sqrt() for key, value in squares.items()}
    return cast(Properties, mean), cast(Properties, deviation)


def _of_all(
    on_batch: Callable[[int, int], None], number: int, members: int, done: int, total: int
) -> None:
    on_batch(number * total + done, members * total)


def batches(structures: Structures, batch_atoms: int | None = None) -> list[range]:
    """Return consecutive structures with at most `batch_atoms` atoms (`BATCH_ATOMS`), or one."""
    limit = BATCH_ATOMS if batch_atoms is None else batch_atoms
    batches, start, atoms = [], 0, 0
    for i, count in enumerate(structures.n_atoms.tolist()):
        if atoms and atoms + count > limit:
            batches.append(range(start, i))
            start, atoms = i, 0
        atoms += count
    return [*batches, range(start, len(structures))]


def within(graph: Graph, potential: Potential) -> Graph:
    """Return the edges a committee member with a shorter cutoff is made for."""
    if potential.cutoff == graph.cutoff:
        return graph
    near = graph.vectors.square().sum(dim=1) < potential.cutoff**2
    return graph.keep_edges(near).replace(cutoff=potential.cutoff)


def refuse_coincident(graph: Graph) -> None:
    """Raise StructureError if two atoms are at the same place."""
    touching = (graph.vectors.square().sum(dim=1) < COINCIDENT).nonzero()
    if len(touching):
        edge = int(touching[0])
        raise StructureError(
            f"Atoms {int(graph.center[edge])} and {int(graph.neighbor[edge])} are at the same "
            "place; their energy is not defined. Remove the duplicate."
        )
