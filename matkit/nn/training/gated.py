"""NequIP's interaction layer as a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from matkit.nn.equivariant import Features, Gate, Linear, ScalarMLP
from matkit.nn.kernels import Convolution
from matkit.nn.kernels.fused import Edges
from matkit.nn.species_rows import species_product, species_rows
from matkit.nn.training.layers import LayerStep, terms_of
from matkit.nn.training.node_functions import usable
from matkit.nn.training.steps import ConvolutionStep, LinearStep, NodeStep, RadialStep, add_to


@runtime_checkable
class GatedLayer(Protocol):
    """A layer of linear, convolution, linear, plus self-connection, gate.

    Attributes:
        linear_in: Before the convolution.
        linear_out: After it.
        self_connection: Of the layer's input, perhaps with matrices of the atom's species.
        places: Irreps of the gate's input that the self-connection is added to.
        by_species: Whether it has those.
        neighbor_norm: Number the sum over neighbours is divided by.
        radial: From the radial basis to the convolution's weights.
        convolution: The convolution.
        gate: Last step.
    """

    linear_in: Linear
    linear_out: Linear
    self_connection: Linear
    places: list[int]
    by_species: bool
    neighbor_norm: float
    radial: ScalarMLP
    convolution: Convolution
    gate: Gate


class GatedStep:
    """A layer of this kind.

    Args:
        layer: The layer.
        edges: Edges.
        index: Index of each atom's species [N].
        first: The features are the embedding.
    """

    def __init__(self, layer: GatedLayer, edges: Edges, index: Tensor, first: bool) -> None:
        self.places, self.first = layer.places, first
        self.radial = RadialStep(layer.radial)
        self.convolution = ConvolutionStep(layer.convolution.layout, edges, first)
        self.linear_in = LinearStep(terms_of(layer.linear_in), list(layer.linear_in.weights))
        terms = terms_of(layer.linear_out, 1 / layer.neighbor_norm)
        self.linear_out = LinearStep(terms, list(layer.linear_out.weights))
        connection = layer.self_connection
        self.connection: LinearStep | SpeciesLinearStep = (
            SpeciesLinearStep(connection, index)
            if layer.by_species
            else LinearStep(terms_of(connection), list(connection.weights))
        )
        self.gate = NodeStep(layer.gate)

    def values(self, x: Features, basis: Tensor, harmonics: Tensor) -> Features:
        """Return the features of the next layer."""
        sent, weights = self.linear_in.values(x), self.radial.values(basis)
        mixed = self.linear_out.values(self.convolution.values(sent, harmonics, weights))
        add_to(self._connected(mixed), self.connection.values(x))
        return self.gate.values(mixed)

    def reverse(self, g: Features) -> tuple[Features, Tensor, Tensor]:
        """Return the energy's derivatives by features, basis and harmonics."""
        by_mixed = self.gate.reverse(g)
        by_messages = self.linear_out.reverse(by_mixed)
        by_sent, by_harmonics, by_weights = self.convolution.reverse(by_messages)
        by_basis = self.radial.reverse(by_weights)
        by_x = self.connection.reverse(self._connected(by_mixed))
        if not self.first:
            add_to(by_x, self.linear_in.reverse(by_sent))
        return by_x, by_basis, by_harmonics

    def tangent(
        self, dx: Sequence[Tensor | None], d_basis: Tensor, d_harmonics: Tensor
    ) -> Features:
        """Return how the features of the next layer change."""
        moved = tuple(part for part in dx if part is not None)
        d_sent = () if self.first else self.linear_in.tangent(moved)
        d_weights = self.radial.tangent(d_basis)
        d_messages = self.convolution.tangent(d_sent, d_harmonics, d_weights)
        d_mixed = self.linear_out.tangent(d_messages)
        if not self.first:
            add_to(self._connected(d_mixed), self.connection.tangent(moved))
        return self.gate.tangent(d_mixed)

    def gradient(self, g: Features) -> tuple[Features, Tensor]:
        """Return the loss's derivatives by features and basis."""
        by_mixed = self.gate.gradient(g)
        by_sent, by_weights = self.convolution.gradient(self.linear_out.gradient(by_mixed))
        by_x = self.connection.gradient(self._connected(by_mixed))
        add_to(by_x, self.linear_in.gradient(by_sent))
        return by_x, self.radial.gradient(by_weights)

    def _connected(self, mixed: Features) -> Features:
        return tuple(mixed[place] for place in self.places)

    @property
    def _steps(self) -> tuple[RadialStep | LinearStep | SpeciesLinearStep, ...]:
        return self.radial, self.linear_in, self.linear_out, self.connection

    @property
    def weights(self) -> Sequence[Tensor]:
        """What it is trained by."""
        return [weight for step in self._steps for weight in step.weights]

    @property
    def by_weights(self) -> Sequence[Tensor]:
        """The loss's derivatives by the weights."""
        return [found for step in self._steps for found in step.by_weights]


class SpeciesLinearStep:
    """A `Linear` with matrices of the atom's species.

    Args:
        linear: The map; every input irrep goes into one output irrep at most.
        index: Index of each atom's species [N].
    """

    def __init__(self, linear: Linear, index: Tensor) -> None:
        self.source, self.index, self.weights = linear.source, index, tuple(linear.weights)
        self.scales, self.by_weights = linear.scales, list[Tensor]()
        with torch.no_grad():
            self.matrices = torch._foreach_mul(self.weights, self.scales)
        self.dx: Features | None = None

    def values(self, x: Features) -> Features:
        """Return the mixed features."""
        self.x = x
        return self._mixed(x)

    def reverse(self, g: Features) -> Features:
        """Return the energy's derivative by the features."""
        self.g = g
        return self._back(g)

    def tangent(self, dx: Features) -> Features:
        """Return how the mixed features change."""
        self.dx = dx
        return self._mixed(dx)

    def gradient(self, g: Features) -> Features:
        """Return the loss's derivative by the features."""
        self.by_weights = [self._by_matrices(source, k, g) for k, source in enumerate(self.source)]
        torch._foreach_mul_(self.by_weights, self.scales)
        self.dx = None
        return self._back(g)

    def _by_matrices(self, source: int, k: int, g: Features) -> Tensor:
        """Return the derivatives by the matrices of all species, zero where none occurs."""
        rows = species_rows(self.index, len(self.weights[k]))
        factors = [(self.x[source], g[k])]
        if self.dx is not None:
            factors.append((self.dx[source], self.g[k]))
        total = torch.zeros_like(self.weights[k])
        counts = rows.whole.diff().tolist()
        for left, right in factors:
            pairs = zip(
                left[rows.order].split(counts), right[rows.order].split(counts), strict=True
            )
            for species, (a, b) in zip(rows.species.tolist(), pairs, strict=True):
                total[species].addmm_(a.flatten(0, 1).T, b.flatten(0, 1))
        return total

    def _mixed(self, x: Features) -> Features:
        pairs = zip(self.source, self.matrices, strict=True)
        return tuple(species_product(x[source], matrix, self.index) for source, matrix in pairs)

    def _back(self, g: Features) -> Features:
        by_x = [torch.zeros_like(part) for part in self.x]
        for source, matrix, part in zip(self.source, self.matrices, g, strict=True):
            by_x[source].add_(species_product(part, matrix.mT, self.index))
        return tuple(by_x)


def gated_step(layer: GatedLayer, edges: Edges, index: Tensor, first: bool) -> LayerStep | None:
    """Return a layer as a step, None where there is no kernel of its gate."""
    if not usable(layer.gate, layer.linear_in.weights[0].dtype):
        return None
    return GatedStep(layer, edges, index, first)
