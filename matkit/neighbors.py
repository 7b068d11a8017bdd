"""Radius graphs: vesin on the CPU, a vectorised torch list as reference and on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from matkit.errors import UnknownNameError, did_you_mean
from matkit.geometry import complete_cell, heights
from matkit.graph import Graph
from matkit.structures import Structures, _ranges

Edges = tuple[Tensor, Tensor, Tensor]

# Candidate pairs examined at once by the torch list; 24 bytes of distance data each.
CHUNK = 4_000_000


def radius_graph(structures: Structures, cutoff: float, backend: str = "auto") -> Graph:
    """Connect every pair of atoms (periodic images included) closer than `cutoff`.

    Args:
        structures: Batch of structures; atoms may lie outside their cell, and the cell may be
            smaller than the cutoff.
        cutoff: Longest edge in Å; a pair exactly at the cutoff is left out.
        backend: `vesin` (cell lists, CPU), `torch` (all pairs, any device), or `auto`: vesin
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
        "torch": _torch_edges,
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
    keys = torch.cat([shift.flip(1), neighbor.unsqueeze(1), center.unsqueeze(1)], dim=1)
    order = torch.from_numpy(np.lexsort(keys.T.cpu().numpy())).to(center.device)
    return center[order], neighbor[order], shift[order]


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


def _torch_edges(structures: Structures, cutoff: float) -> Edges:
    """All pairs and all images within reach, examined in chunks of centres."""
    device = structures.device
    cell = complete_cell(structures.cell.detach())
    positions, wrap = _wrapped(structures, cell)
    images, first_image, n_images = _images(structures, cell, cutoff)

    batch, counts = structures.batch, structures.n_atoms
    candidates = counts[batch] * n_images[batch]
    edges: list[Edges] = []
    for begin, end in _chunks(candidates):
        center = torch.repeat_interleave(
            torch.arange(begin, end, device=device), candidates[begin:end]
        )
        system = batch[center]
        local = _ranges(torch.zeros_like(candidates[begin:end]), candidates[begin:end])
        neighbor = structures.offsets[system] + local // n_images[system]
        image = images[first_image[system] + local % n_images[system]]
        vector = positions[neighbor] - positions[center]
        vector = vector + torch.einsum("ea,eax->ex", image.to(cell.dtype), cell[system])
        itself = (center == neighbor) & (image == 0).all(dim=1)
        keep = ((vector * vector).sum(dim=1) < cutoff**2) & ~itself
        center, neighbor, image = center[keep], neighbor[keep], image[keep]
        edges.append((center, neighbor, image - wrap[neighbor] + wrap[center]))
    centers, neighbors, shifts = zip(*edges, strict=True)
    return torch.cat(centers), torch.cat(neighbors), torch.cat(shifts)


def _wrapped(structures: Structures, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions inside their cells and the lattice steps subtracted [N, 3]."""
    positions, batch = structures.positions.detach(), structures.batch
    fractional = torch.einsum("nx,nxa->na", positions, torch.linalg.inv(cell)[batch])
    steps = torch.where(structures.pbc[batch], fractional.floor(), 0.0)
    wrapped = positions - torch.einsum("na,nax->nx", steps, cell[batch])
    return wrapped, steps.to(torch.long)


def _images(structures: Structures, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return lattice translations within reach of wrapped atoms, first index and count [B]."""
    reach = torch.where(structures.pbc, torch.ceil(cutoff / heights(cell)), 0.0).to(torch.long)
    grids = [
        torch.cartesian_prod(*(torch.arange(-r, r + 1) for r in row)) for row in reach.tolist()
    ]
    counts = torch.tensor([len(grid) for grid in grids], device=structures.device)
    return torch.cat(grids).to(structures.device), torch.cumsum(counts, 0) - counts, counts


def _chunks(candidates: Tensor) -> list[tuple[int, int]]:
    """Split the centres into ranges of at most CHUNK candidates, at least one atom each."""
    total = torch.cumsum(candidates, 0).cpu()
    bounds, begin, spent = [], 0, 0
    while begin < len(total):
        end = int(torch.searchsorted(total, spent + CHUNK, right=True))
        end = max(end, begin + 1)
        bounds.append((begin, end))
        begin, spent = end, int(total[end - 1])
    return bounds
