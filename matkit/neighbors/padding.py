"""Graphs whose number of edges is rounded up, so that shapes repeat from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.graph import Graph
from matkit.scopes import scoped

SMALLEST = 64  # edges
PER_DOUBLING = 8  # numbers of edges used between a power of two and the next


@dataclass(frozen=True, kw_only=True, eq=False)
class PaddedGraph(Graph):
    """A graph with edges that are none: longer than any cutoff, and in nobody's row.

    All that sums over `pointers` or `transpose` never meets them; what runs over all edges finds
    them too long to contribute.

    Attributes:
        real: Whether an edge is one [E]; the others come last, with the last atom at both ends.
        start: Pointers of the real edges by centre [N + 1].
        by_neighbor: Edges sorted by neighbour [E]; the real ones come first.
        neighbor_start: Pointers into these [N + 1].
    """

    real: Bool[Tensor, " E"] = scoped("edge")
    by_neighbor: Int[Tensor, " E"] = scoped("edge")
    start: Int[Tensor, " N_plus_1"] = scoped("pointer")
    neighbor_start: Int[Tensor, " N_plus_1"] = scoped("pointer")

    @cached_property
    def vectors(self) -> Float[Tensor, "E 3"]:
        """Edge vectors [E, 3] in Å; those of padding are constant."""
        # Not zero, since a derivative of the length of such an edge is NaN.
        everywhere = Graph.vectors.func(self)  # type: ignore[attr-defined]
        return torch.masked_fill(everywhere, ~self.real.unsqueeze(1), 2 * self.cutoff)

    @cached_property
    def pointers(self) -> Int[Tensor, " N_plus_1"]:
        """Real edges ``pointers[i]:pointers[i + 1]`` have atom i as their centre [N + 1]."""
        return self.start

    @cached_property
    def transpose(self) -> tuple[Int[Tensor, " E"], Int[Tensor, " N_plus_1"]]:
        """Edges sorted by neighbour [E], the real ones first, and pointers to them [N + 1]."""
        return self.by_neighbor, self.neighbor_start


def bucket(edges: int) -> int:
    """Return the number of edges to use instead: at most an eighth more, eight per doubling."""
    if edges <= SMALLEST:
        return SMALLEST
    step = 2 ** ((edges - 1).bit_length() - 1) // PER_DOUBLING
    return -(-edges // step) * step


def pad(graph: Graph) -> PaddedGraph:
    """Return the graph with its edges rounded up to a bucket; it must have an atom."""
    n_edges = len(graph.center)
    extra = bucket(n_edges) - n_edges
    permutation, neighbor_start = graph.transpose
    device, last = graph.device, len(graph.species) - 1
    ends = torch.full((extra,), last, device=device)
    fields = {name: getattr(graph, name) for name in Graph._scopes()}
    fields |= {
        "center": torch.cat([graph.center, ends]),
        "neighbor": torch.cat([graph.neighbor, ends]),
        "shift": torch.cat([graph.shift, graph.shift.new_zeros(extra, 3)]),
    }
    return PaddedGraph(
        **fields,
        cutoff=graph.cutoff,
        real=torch.arange(n_edges + extra, device=device) < n_edges,
        by_neighbor=torch.cat([permutation, torch.arange(n_edges, n_edges + extra, device=device)]),
        start=graph.pointers,
        neighbor_start=neighbor_start,
    )
