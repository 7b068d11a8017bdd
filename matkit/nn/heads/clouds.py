"""A read-out of the directions to an atom's neighbours."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from matkit.graph import Graph

# Of areas, Å², so that they have a derivative where two directions are parallel.
SOFTENING = 1e-6


class GeometricAttention(nn.Module):
    """Attention over pairs of points of a cloud, seen by their geometric product.

    The product of two vectors is a scalar a·b and a bivector a∧b; what no rotation changes is a·b
    and |a∧b|. A perceptron of these and of the values of both points makes the value of the pair,
    and another one its weight (Spellings 2021, https://arxiv.org/abs/2110.02393, rank 2). Neither
    number changes in a mirror: left and right hand are the same to it. Features of clouds of n
    points take n² pairs. They jump where a point comes or goes, and are no basis for forces.

    Args:
        values: Features of a point.
        width: Features of a cloud.
    """

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.of_product = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.of_first = nn.Linear(values, width, bias=False)
        self.of_second = nn.Linear(values, width, bias=False)
        self.value = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.score = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(
        self,
        points: Float[Tensor, "N K 3"],
        values: Float[Tensor, "N K F"],
        present: Bool[Tensor, "N K"],
    ) -> Float[Tensor, "N G"]:
        """Return the features of clouds of up to K points; zero for an empty one.

        Args:
            points: Vectors from the centre of the cloud, Å.
            values: Invariant features of the points.
            present: Which points there are; what stands at the others does not matter.
        """
        points = points.masked_fill(~present.unsqueeze(2), 0.0)
        members = self.of_first(values).unsqueeze(2) + self.of_second(values).unsqueeze(1)
        pairs = self.value(self.of_product(product_invariants(points)) + members).flatten(1, 2)
        both = (present.unsqueeze(2) & present.unsqueeze(1)).flatten(1).unsqueeze(2)
        scores = self.score(pairs).masked_fill(~both, torch.finfo(pairs.dtype).min)
        weights = scores.softmax(dim=1) * both
        return (weights * pairs.masked_fill(~both, 0.0)).sum(dim=1)


def product_invariants(points: Float[Tensor, "N K 3"]) -> Float[Tensor, "N K K 2"]:
    """Return a·b and |a∧b| of all pairs of points, in the square of their unit."""
    first, second = points.unsqueeze(2), points.unsqueeze(1)
    area = torch.linalg.cross(*torch.broadcast_tensors(first, second)).square().sum(3)
    return torch.stack([(first * second).sum(3), (area + SOFTENING**2).sqrt()], dim=3)


def neighbor_clouds(
    graph: Graph, size: int
) -> tuple[Float[Tensor, "N K 3"], Int[Tensor, "N K"], Bool[Tensor, "N K"]]:
    """Return the vectors to the nearest neighbours of every atom, which they are, and the mask.

    Args:
        graph: Edges.
        size: Number K of neighbours; atoms with fewer have less than that.
    """
    order = torch.argsort(graph.vectors.detach().norm(dim=1), stable=True)
    order = order[torch.argsort(graph.center[order], stable=True)]
    rank = torch.arange(len(order), device=order.device) - graph.pointers[graph.center[order]]
    order, rank = order[rank < size], rank[rank < size]
    places = graph.center[order], rank
    points = graph.vectors.new_zeros(len(graph.species), size, 3)
    neighbors = graph.center.new_zeros(len(graph.species), size)
    points = points.index_put(places, graph.vectors[order])
    neighbors[places] = graph.neighbor[order]
    present = torch.zeros_like(neighbors, dtype=torch.bool)
    present[places] = True
    return points, neighbors, present
