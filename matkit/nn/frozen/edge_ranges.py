"""Ranges of centres that are convolved at once, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from matkit.nn.kernels.fused import Edges

# Radial weights held at once where there is no table, in numbers.
WORKING_SET = 50_000_000
# Centres convolved at once where there is a table.
CENTERS = 4096

# Centres, their first edge and the one after their last.
EdgeRange = tuple[slice, int, int]


def tabulated_ranges(edges: Edges) -> Iterator[EdgeRange]:
    """Yield ranges of centres where a table gives the weights: messages grow with the centres."""
    n_atoms = len(edges.start) - 1
    # A GPU has no cache worth the waiting.
    if edges.start.is_cuda or n_atoms <= CENTERS:
        yield _all(edges)
        return
    for begin in range(0, n_atoms, CENTERS):
        yield _range(edges, begin, min(begin + CENTERS, n_atoms))


def weighted_ranges(edges: Edges, weight_numel: int) -> Iterator[EdgeRange]:
    """Yield ranges of centres where every edge has `weight_numel` weights in memory."""
    start, n_atoms = edges.start, len(edges.start) - 1
    if len(edges.center) * weight_numel <= WORKING_SET:
        yield _all(edges)
        return
    limit, begin = max(1, WORKING_SET // weight_numel), 0
    while begin < n_atoms:
        end = int(torch.searchsorted(start, start[begin] + limit, right=True)) - 1
        end = min(max(end, begin + 1), n_atoms)
        yield _range(edges, begin, end)
        begin = end


def edges_of_range(edges: Edges, atoms: slice, by_neighbor: bool) -> Edges:
    """Return the edges of a range of centres, these renumbered from zero.

    Args:
        edges: All edges.
        atoms: Range of centres.
        by_neighbor: Whether the order by neighbour is needed too.
    """
    n_atoms = len(edges.start) - 1
    if (atoms.start, atoms.stop) == (0, n_atoms):
        return edges
    start = edges.start[atoms.start : atoms.stop + 1]
    rows = slice(int(start[0]), int(start[-1]))
    center, neighbor = edges.center[rows] - atoms.start, edges.neighbor[rows].contiguous()
    if not by_neighbor:
        return Edges(start - start[0], center, neighbor, edges.transpose_start, edges.transpose)
    pointers = torch.nn.functional.pad(
        torch.cumsum(torch.bincount(neighbor, minlength=n_atoms), 0), (1, 0)
    )
    return Edges(start - start[0], center, neighbor, pointers, torch.argsort(neighbor, stable=True))


def _all(edges: Edges) -> EdgeRange:
    """Return all centres; said without looking at the pointers, which may be on a GPU."""
    return slice(0, len(edges.start) - 1), 0, len(edges.center)


def _range(edges: Edges, begin: int, end: int) -> EdgeRange:
    return slice(begin, end), int(edges.start[begin]), int(edges.start[end])
