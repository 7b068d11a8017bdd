"""Interaction layers as steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from matkit.nn.equivariant import Features, Linear
from matkit.nn.interaction import ResidualInteraction
from matkit.nn.kernels.fused import Edges
from matkit.nn.mixing import GateMixer
from matkit.nn.residual import add_matching, add_matching_gradient
from matkit.nn.training.node_functions import usable
from matkit.nn.training.steps import ConvolutionStep, LinearStep, MatrixTerm, NodeStep, RadialStep


@runtime_checkable
class LayerStep(Protocol):
    """A layer, from features, radial basis and harmonics to features.

    Attributes:
        weights: What it is trained by.
        by_weights: The loss's derivatives by them, after `gradient`.
    """

    @property
    def weights(self) -> Sequence[Tensor]: ...  # noqa: D102

    @property
    def by_weights(self) -> Sequence[Tensor]: ...  # noqa: D102

    def values(self, x: Features, basis: Tensor, harmonics: Tensor) -> Features:
        """Return the features of the next layer."""

    def reverse(self, g: Features) -> tuple[Features, Tensor, Tensor]:
        """Return the energy's derivatives by features, basis and harmonics."""

    def tangent(
        self, dx: Sequence[Tensor | None], d_basis: Tensor, d_harmonics: Tensor
    ) -> Features:
        """Return how the features of the next layer change; None is a feature that does not."""

    def gradient(self, g: Features) -> tuple[Features, Tensor]:
        """Return the loss's derivatives by features and basis."""


class ResidualStep:
    """A `ResidualInteraction` with a gate.

    Args:
        layer: The layer.
        edges: Edges.
        first: The features are the embedding.
    """

    def __init__(self, layer: ResidualInteraction, edges: Edges, first: bool) -> None:
        mixer = layer.mixer
        assert isinstance(mixer, GateMixer)
        self.same, self.first = layer.same, first
        self.messages = len(layer.convolution.irreps_out)
        self.radial = RadialStep(layer.radial)
        self.convolution = ConvolutionStep(layer.convolution.layout, edges, first)
        terms = terms_of(layer.linear_out, 1 / layer.neighbor_norm)
        terms += [
            MatrixTerm(self.messages + source, layer.places[target], scale)
            for source, target, scale in terms_of(layer.self_connection)
        ]
        matrices = *layer.linear_out.weights, *layer.self_connection.weights
        self.linear = LinearStep(terms, matrices)
        self.gate, self.norm = NodeStep(mixer.gate), NodeStep(layer.norm)
        self.mix = LinearStep(terms_of(mixer.linear), tuple(mixer.linear.weights))
        self.nodes = self.linear, self.gate, self.mix, self.norm

    def values(self, x: Features, basis: Tensor, harmonics: Tensor) -> Features:
        """Return the features of the next layer."""
        y = (*self.convolution.values(x, harmonics, self.radial.values(basis)), *x)
        for step in self.nodes:
            y = step.values(y)
        return add_matching(y, x, self.same)

    def reverse(self, g: Features) -> tuple[Features, Tensor, Tensor]:
        """Return the energy's derivatives by features, basis and harmonics."""
        back = g
        for step in reversed(self.nodes):
            back = step.reverse(back)
        by_x, by_harmonics, by_weights = self.convolution.reverse(back[: self.messages])
        return self._sum(by_x, back, g), self.radial.reverse(by_weights), by_harmonics

    def tangent(
        self, dx: Sequence[Tensor | None], d_basis: Tensor, d_harmonics: Tensor
    ) -> Features:
        """Return how the features of the next layer change."""
        moved = tuple(part for part in dx if part is not None)
        d_weights = self.radial.tangent(d_basis)
        dy: Sequence[Tensor | None] = (
            *self.convolution.tangent(moved, d_harmonics, d_weights),
            *dx,
        )
        for step in self.nodes:
            dy = step.tangent(dy)  # type: ignore[arg-type]
        changes = tuple(part for part in dy if part is not None)
        return changes if self.first else add_matching(changes, moved, self.same)

    def gradient(self, g: Features) -> tuple[Features, Tensor]:
        """Return the loss's derivatives by features and basis."""
        back = g
        for step in reversed(self.nodes):
            back = step.gradient(back)
        by_x, by_weights = self.convolution.gradient(back[: self.messages])
        return self._sum(by_x, back, g), self.radial.gradient(by_weights)

    def _sum(self, by_sent: Features, back: Features, g: Features) -> Features:
        """Return the derivative by the features on all three ways."""
        by_x = back[self.messages :]
        total = [a + b for a, b in zip(by_sent, by_x, strict=True)] if by_sent else by_x
        return add_matching_gradient(total, g, self.same)

    @property
    def weights(self) -> Sequence[Tensor]:
        """What it is trained by."""
        return [weight for step in (self.radial, *self.nodes) for weight in step.weights]

    @property
    def by_weights(self) -> Sequence[Tensor]:
        """The loss's derivatives by the weights."""
        return [found for step in (self.radial, *self.nodes) for found in step.by_weights]


def residual_step(layer: ResidualInteraction, edges: Edges, first: bool) -> LayerStep | None:
    """Return a layer as a step, None where a part of it has none."""
    mixer, dtype = layer.mixer, layer.norm.weights[0].dtype
    if not isinstance(mixer, GateMixer) or layer.species_scale is not None:
        return None
    if not (usable(mixer.gate, dtype) and usable(layer.norm, dtype)):
        return None
    return ResidualStep(layer, edges, first)


def terms_of(linear: Linear, factor: float = 1.0) -> list[MatrixTerm]:
    """Return the terms of a linear map that is the same for all species."""
    numbered = enumerate(zip(linear.source, linear.scales, strict=True))
    return [MatrixTerm(source, target, factor * scale) for target, (source, scale) in numbered]
