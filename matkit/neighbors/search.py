"""Radius graphs: vesin on the CPU, cell lists in torch as reference and on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from matkit.errors import UnknownNameError, did_you_mean
from matkit.geometry import complete_cell
from matkit.graph import Graph
from matkit.neighbors.cell_list import Edges, cell_list_edges
from matkit.structures import Structures


def radius_graph(structures: Structures, cutoff: float, backend: str = "auto") -> Graph:
    """Connect every pair of atoms (periodic images included) closer than `cutoff`.

    Args:
        structures: Batch of structures; atoms may lie outside their cell, and the cell may be
            smaller than the cutoff.
        cutoff: Longest edge in Å; a pair exactly at the cutoff is left out.
        backend: `vesin` (cell lists, CPU), `torch` (cell lists, any device), or `auto`: vesin
            on the CPU, torch elsewhere.

    Returns:
        Graph with both directions of every pair, sorted by centre, neighbour and shift: the
        same order from every backend and whatever was computed before, so that sums over edges
        are the same to the last bit.

    Raises:
        UnknownNameError: `backend` is none of the above.
    """
    finders: dict[str, Callable[[Structures, float], Edges]] = {
        "vesin": _vesin_edges,
        "torch": cell_list_edges,
    }
    name = backend if backend != "auto" else "torch" if structures.device.type != "cpu" else "vesin"
    if name not in finders:
        raise UnknownNameError(
            f"Unknown neighbour list {name!r}.{did_you_mean(name, ('auto', *finders))}"
        )
    center, neighbor, shift = _in_order(*finders[name](structures, cutoff))
    fields = {name: getattr(structures, name) for name in Structures._scopes()}
    return Graph(**fields, center=center, neighbor=neighbor, shift=shift, cutoff=cutoff)


def _in_order(center: Tensor, neighbor: Tensor, shift: Tensor) -> Edges:
    on_cpu = center.device.type == "cpu"
    order = (_order_on_cpu if on_cpu else _order_on_device)(center, neighbor, shift)
    return center[order], neighbor[order], shift[order]


def _order_on_cpu(center: Tensor, neighbor: Tensor, shift: Tensor) -> Tensor:
    keys = torch.cat([shift.flip(1), neighbor.unsqueeze(1), center.unsqueeze(1)], dim=1)
    return torch.from_numpy(np.lexsort(keys.T.numpy()))


def _order_on_device(center: Tensor, neighbor: Tensor, shift: Tensor) -> Tensor:
    """Return the same order from stable sorts, by the least important key first."""
    order = torch.argsort(shift[:, 2], stable=True)
    for key in (shift[:, 1], shift[:, 0], neighbor, center):
        order = order[torch.argsort(key[order], stable=True)]
    return order


def _vesin_edges(structures: Structures, cutoff: float) -> Edges:
    import vesin

    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    positions = structures.positions.detach().cpu().contiguous().numpy()
    cells = complete_cell(structures.cell.detach()).cpu().contiguous().numpy()
    pbc, offsets = structures.pbc.cpu().numpy(), structures.offsets.tolist()
    found: list[list[np.ndarray]] = [[], [], []]
    for b, (first, last) in enumerate(pairwise(offsets)):
        i, j, shift = calculator.compute(positions[first:last], cells[b], pbc[b], "ijS")
        found[0].append(i.astype(np.int64) + first)
        found[1].append(j.astype(np.int64) + first)
        found[2].append(shift.astype(np.int64))
    device = structures.device
    center, neighbor, shifts = (torch.from_numpy(np.concatenate(x)).to(device) for x in found)
    return center, neighbor, shifts.reshape(-1, 3)
