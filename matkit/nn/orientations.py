"""Turned copies of structures, over which a network that knows no symmetry is averaged.

For structures x a set F(x) of rotations with F(x g) = g⁻¹ F(x), so that the copies x R, R in F(x),
are the same whichever way a structure lies. The average over them is invariant then: exactly for
frames (Puny et al., ICLR 2022) and canonical orientations (Kaba et al., ICML 2023), and up to the
degree of the grid for a fixed set, which is the only one that is smooth everywhere: there is no
continuous frame (Dym, Lawrence & Siegel, ICML 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from matkit.graph import Graph
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.radial import BesselBasis, polynomial_envelope
from matkit.nn.rotation_grids import rotation_grid
from matkit.nn.scatter import scatter_sum

# Smallest gap between principal moments, of the largest, at which axes are told apart; and smallest
# sine of the angles between the vectors of a learned orientation.
GAP = 0.01


class Orientations(NamedTuple):
    """Turned copies of the structures of a batch.

    Attributes:
        which: Structure that each copy is of [K].
        matrix: Orthogonal matrix of each [K, 3, 3]; rows of coordinates become ``x @ matrix``.
        weight: Share in the average of its structure [K].
    """

    which: Int[Tensor, " K"]
    matrix: Float[Tensor, "K 3 3"]
    weight: Float[Tensor, " K"]


class GridOrientations(nn.Module):
    """The same set of rotations for all structures.

    Args:
        size: Number of matrices, see `matkit.nn.rotation_grids.rotation_grid`.
        reflections: Whether reflections are among them.
    """

    matrix: Tensor
    weight: Tensor

    def __init__(self, size: int, reflections: bool) -> None:
        super().__init__()
        matrix, weight = rotation_grid(size, reflections)
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, graph: Graph, chosen: Bool[Tensor, " B"] | None = None) -> Orientations:
        """Return all orientations of every structure, or of those chosen."""
        which = _numbers(graph, chosen)
        count, like = len(self.weight), graph.positions
        return Orientations(
            which.repeat_interleave(count),
            self.matrix.to(like).repeat(len(which), 1, 1),
            self.weight.to(like).repeat(len(which)),
        )


class FrameOrientations(nn.Module):
    """Principal axes of what atoms see of each other, with all signs.

    The axes are eigenvectors of the sum of r rᵀ over the edges with a smooth weight, so that they
    depend neither on how atoms are wrapped into a cell nor on which cell it is. Structures with two
    principal moments that differ by less than `GAP` of the largest have no axes of their own
    (linear molecules, tetrahedra, cubic crystals, single atoms): they get a grid.

    Args:
        fallback: Grid for these.
        reflections: Whether all eight signs are taken, or the four of rotations.
        stochastic: Whether training takes one copy at random of each structure.
    """

    def __init__(
        self, fallback: GridOrientations, reflections: bool, stochastic: bool = False
    ) -> None:
        super().__init__()
        self.fallback, self.stochastic, self.reflections = fallback, stochastic, reflections
        signs = torch.tensor(list(product((1.0, -1.0), repeat=3)), dtype=torch.float64)
        self.register_buffer("signs", signs, persistent=False)

    signs: Tensor

    def forward(self, graph: Graph, chosen: Bool[Tensor, " B"] | None = None) -> Orientations:
        """Return the orientations of every structure, or of those chosen.

        They can be differentiated by the edge vectors.
        """
        moments = second_moments(graph)
        wanted = moments.new_ones(len(graph), dtype=torch.bool) if chosen is None else chosen
        regular = wanted & axes_differ(moments.detach())
        axes = torch.linalg.eigh(moments[regular]).eigenvectors  # not of others: no derivative
        signs = self.signs.to(moments)
        if not self.reflections:
            turn = torch.linalg.det(axes).detach().round().view(-1, 1, 1)
            axes = torch.cat([axes[:, :, :2], axes[:, :, 2:] * turn], dim=2)
            signs = signs[signs.prod(dim=1) > 0]
        count = len(signs)
        frames = Orientations(
            _numbers(graph, regular).repeat_interleave(count),
            (axes.unsqueeze(1) * signs.unsqueeze(1)).flatten(0, 1),
            moments.new_full((count * len(axes),), 1 / count),
        )
        found = _joined(frames, self.fallback(graph, wanted & ~regular))
        return _one_of_each(found) if self.stochastic and self.training else found


class LearnedOrientations(nn.Module):
    """Two vectors that a small equivariant network makes of each structure, as its first axes.

    The third is normal to them, in both directions with reflections. Structures whose symmetry
    leaves no two vectors, such as those with a centre of inversion or an axis, get the fallback.

    Args:
        species: Atomic numbers to know.
        cutoff: Longest edge, Å.
        fallback: Orientations of structures without two vectors.
        reflections: Whether mirror images are the same.
        orthogonal: Whether axes are made orthonormal. Otherwise copies are distorted by them, as
            little as training makes of `orbit_distance` (Nguyen et al., 2023).
    """

    CHANNELS, BASIS = 16, 8

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float,
        fallback: FrameOrientations,
        reflections: bool,
        orthogonal: bool = True,
    ) -> None:
        super().__init__()
        self.fallback, self.reflections, self.orthogonal = fallback, reflections, orthogonal
        self.cutoff, self.index = cutoff, SpeciesIndex(tuple(species))
        self.basis = BesselBasis(cutoff, self.BASIS)
        self.of_center = nn.Embedding(len(species), self.CHANNELS)
        self.of_neighbor = nn.Embedding(len(species), self.CHANNELS)
        self.radial = nn.Linear(self.BASIS, self.CHANNELS, bias=False)
        self.mix = nn.Linear(self.CHANNELS, 2, bias=False)

    def forward(self, graph: Graph) -> Orientations:
        """Return the orientations of every structure, differentiable by the edge vectors."""
        first, second = self.vectors(graph).unbind(dim=1)
        regular = are_independent(first.detach(), second.detach())
        first, second = first[regular], second[regular]
        if self.orthogonal:
            first = first / first.norm(dim=1, keepdim=True)
            second = second - (second * first).sum(dim=1, keepdim=True) * first
            second = second / second.norm(dim=1, keepdim=True)
        third = torch.linalg.cross(first, second)
        both = [torch.stack([first, second, third], dim=2)]
        if self.reflections:
            both.append(torch.stack([first, second, -third], dim=2))
        matrix = torch.stack(both, dim=1).flatten(0, 1)
        which = _numbers(graph, regular).repeat_interleave(len(both))
        own = Orientations(which, matrix, matrix.new_full((len(matrix),), 1 / len(both)))
        return _joined(own, self.fallback(graph, ~regular))

    def vectors(self, graph: Graph) -> Float[Tensor, "B 2 3"]:
        """Return two vectors of each structure."""
        edges = graph.vectors
        lengths = edges.norm(dim=1)
        species = self.index(graph.species)
        pairs = self.of_center(species[graph.center]) * self.of_neighbor(species[graph.neighbor])
        mixed = self.mix(pairs * self.radial(self.basis(lengths).to(pairs))).to(edges)
        mixed = mixed * polynomial_envelope(lengths, self.cutoff).unsqueeze(1)
        parts = mixed.unsqueeze(2) * edges.unsqueeze(1)
        of_atoms = scatter_sum(parts, graph.center, len(graph.species))
        # Not linear in them, or those of two equal atoms would always cancel.
        of_atoms = of_atoms / (1 + of_atoms.square().sum(dim=2, keepdim=True)).sqrt()
        return scatter_sum(of_atoms, graph.batch, len(graph))


class RandomOrientations(nn.Module):
    """One orientation of each structure, at random in training; as it lies otherwise.

    Args:
        reflections: Whether reflections are among them.
    """

    def __init__(self, reflections: bool) -> None:
        super().__init__()
        self.reflections = reflections

    def forward(self, graph: Graph) -> Orientations:
        """Return one orientation of every structure."""
        like, count = graph.positions, len(graph)
        matrix = torch.eye(3).expand(count, 3, 3)
        if self.training:
            matrix = random_turns(count)
            if not self.reflections:
                matrix = matrix * torch.linalg.det(matrix).round().view(-1, 1, 1)
        return Orientations(_numbers(graph, None), matrix.to(like), like.new_ones(count))


def orbit_distance(matrices: Float[Tensor, "K 3 3"]) -> Float[Tensor, " K"]:
    """Return how far matrices are from orthogonal ones: the squared norm of MᵀM - 1 [K]."""
    eye = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    return (matrices.mT @ matrices - eye).square().sum(dim=(1, 2))


def second_moments(graph: Graph) -> Float[Tensor, "B 3 3"]:
    """Return the sum of r rᵀ over the edges of each structure, weighted by a smooth cutoff."""
    vectors = graph.vectors
    weight = polynomial_envelope(vectors.norm(dim=1), graph.cutoff)
    outer = vectors.unsqueeze(2) * (weight.unsqueeze(1) * vectors).unsqueeze(1)
    return scatter_sum(outer, graph.batch[graph.center], len(graph))


def axes_differ(moments: Float[Tensor, "B 3 3"]) -> Bool[Tensor, " B"]:
    """Return which structures have principal moments that can be told apart."""
    values = torch.linalg.eigvalsh(moments)
    gap = values.diff(dim=1).min(dim=1).values
    return (gap > GAP * values[:, 2]) & (values[:, 2] > 0)


def are_independent(
    first: Float[Tensor, "B 3"], second: Float[Tensor, "B 3"]
) -> Bool[Tensor, " B"]:
    """Return where two vectors span a plane, and none of them is short."""
    lengths = torch.stack([first.norm(dim=1), second.norm(dim=1)])
    area = torch.linalg.cross(first, second).norm(dim=1)
    return (lengths.min(dim=0).values > GAP) & (area > GAP * lengths.prod(dim=0))


def _numbers(graph: Graph, chosen: Bool[Tensor, " B"] | None) -> Int[Tensor, " k"]:
    if chosen is None:
        return torch.arange(len(graph), device=graph.device)
    return chosen.nonzero().flatten()


def _joined(a: Orientations, b: Orientations) -> Orientations:
    return Orientations(*(torch.cat(pair) for pair in zip(a, b, strict=True)))


def _one_of_each(orientations: Orientations) -> Orientations:
    """Return one orientation of each structure, drawn with its weight."""
    which, matrix, weight = orientations
    # The least of exponential variables divided by weights falls on each with its weight.
    key = torch.rand_like(weight).log().neg() / weight
    order = key.argsort()
    order = order[which[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = which[order].diff() > 0
    rows = order[first]
    return Orientations(which[rows], matrix[rows], torch.ones_like(weight[rows]))


def random_turns(count: int) -> Float[Tensor, "K 3 3"]:
    """Return random rotations and reflections [K, 3, 3], uniform over all, float64."""
    numbers = torch.randn(count, 3, 3, dtype=torch.float64)
    turns, triangle = torch.linalg.qr(numbers)
    return turns * torch.diagonal(triangle, dim1=1, dim2=2).sign().unsqueeze(1)
