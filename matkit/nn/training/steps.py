"""Blocks of a network with both derivatives written out; see the package for their methods.

A step serves one batch: it keeps what its derivatives need. Weights are handed over in the order of
`weights`, and `by_weights` holds the loss's derivatives by them after `gradient`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from matkit.nn.equivariant import RMS, Features, Gate, ScalarMLP
from matkit.nn.kernels.fused import Edges, unchecked_gradients, unchecked_product
from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.tangents import Arguments, change, gradients
from matkit.nn.mixing import EquivariantNorm
from matkit.nn.training.node_functions import NodeFunction


class MatrixTerm(NamedTuple):
    """A product: `scale` times input number `source` times a matrix, added to output `target`."""

    source: int
    target: int
    scale: float


class LinearStep:
    """Sums of inputs times matrices, ``y_target = Σ scale x_source W``.

    Args:
        terms: What is multiplied, one for each matrix.
        weights: Matrices [in, out].
    """

    def __init__(self, terms: Sequence[MatrixTerm], weights: Sequence[Tensor]) -> None:
        self.terms, self.weights = terms, tuple(weights)
        self.by_weights: list[Tensor] = []
        self.outputs = 1 + max(term.target for term in terms)
        self.dx: Sequence[Tensor | None] | None = None

    def values(self, x: Features) -> Features:
        """Return the sums."""
        self.x = x
        return self._sums(x)

    def reverse(self, g: Features) -> Features:
        """Return the energy's derivative by the inputs."""
        self.g = g
        return self._back(g)

    def tangent(self, dx: Sequence[Tensor | None]) -> Features:
        """Return how the sums change; None is an input that does not."""
        self.dx = dx
        return self._sums(dx)

    def gradient(self, g: Features) -> Features:
        """Return the loss's derivative by the inputs."""
        self.by_weights = [self._by_matrix(term, g) for term in self.terms]
        self.dx = None
        return self._back(g)

    def _by_matrix(self, term: MatrixTerm, g: Features) -> Tensor:
        source, target, scale = term
        found = _scaled_product(_rows(self.x[source]).T, _rows(g[target]), scale)
        if self.dx is not None and (dx := self.dx[source]) is not None:
            found.addmm_(_rows(dx).T, _rows(self.g[target]), alpha=scale)
        return found

    def _sums(self, x: Sequence[Tensor | None]) -> Features:
        out: list[Tensor | None] = [None] * self.outputs
        for (source, target, scale), matrix in zip(self.terms, self.weights, strict=True):
            if (part := x[source]) is not None:
                out[target] = _added(out[target], part, matrix, scale)
        return tuple(part for part in out if part is not None)

    def _back(self, g: Features) -> Features:
        out: list[Tensor | None] = [None] * len(self.x)
        for (source, target, scale), matrix in zip(self.terms, self.weights, strict=True):
            out[source] = _added(out[source], g[target], matrix.T, scale)
        pairs = zip(out, self.x, strict=True)
        return tuple(torch.zeros_like(x) if part is None else part for part, x in pairs)


class SiluStep:
    """The activation silu, not normalised."""

    weights: tuple[Tensor, ...] = ()

    def __init__(self) -> None:
        self.by_weights: list[Tensor] = []
        self.mixed: Tensor | None = None

    def values(self, x: Features) -> Features:
        """Return the activated values."""
        self.x = x[0]
        return (silu(x[0]),)

    def reverse(self, g: Features) -> Features:
        """Return the energy's derivative by the input."""
        self.g = g[0]
        return (torch.ops.aten.silu_backward(g[0], self.x),)

    def tangent(self, dx: Features) -> Features:
        """Return how the values change."""
        s = torch.sigmoid(self.x)
        # The second derivative is s (1 - s) (2 + x (1 - 2 s)).
        tail = s.mul(-2).add_(1).mul_(self.x).add_(2)
        self.mixed = torch.ops.aten.sigmoid_backward(tail, s).mul_(self.g).mul_(dx[0])
        return (torch.ops.aten.silu_backward(dx[0], self.x),)

    def gradient(self, g: Features) -> Features:
        """Return the loss's derivative by the input."""
        by_x = torch.ops.aten.silu_backward(g[0], self.x)
        if self.mixed is not None:
            by_x.add_(self.mixed)
            self.mixed = None
        return (by_x,)


class NodeStep:
    """A gate or a norm.

    Args:
        module: What it computes.
    """

    def __init__(self, module: Gate | EquivariantNorm) -> None:
        self.function = NodeFunction.of(module)
        # Asking a module for all its parameters takes longer than the kernel.
        self.weights = () if isinstance(module, Gate) else tuple(module.weights)
        self.by_weights: list[Tensor] = []
        self.mixed: tuple[Features, Features] | None = None

    def values(self, x: Features) -> Features:
        """Return the values."""
        self.x = x
        return self.function.values(x, self.weights)

    def reverse(self, g: Features) -> Features:
        """Return the energy's derivative by the features."""
        self.g = g
        return self.function.first(self.x, self.weights, g)[0]

    def tangent(self, dx: Features) -> Features:
        """Return how the values change."""
        by_x, changes, by_weights = self.function.second(self.x, self.weights, self.g, dx)
        self.mixed = by_x, by_weights
        return changes

    def gradient(self, g: Features) -> Features:
        """Return the loss's derivative by the features."""
        by_x, by_weights = self.function.first(self.x, self.weights, g)
        if self.mixed is not None:
            for mine, mixed in zip((by_x, by_weights), self.mixed, strict=True):
                add_to(mine, mixed)
            self.mixed = None
        self.by_weights = [part.sum(dim=0) for part in by_weights]
        return by_x


class ConvolutionStep:
    """The convolution over the neighbours. Its weights are inputs: they belong to the edges.

    Args:
        layout: Irreps and paths.
        edges: Edges.
        first: The features are the embedding, which does not depend on the geometry.
    """

    weights: tuple[Tensor, ...] = ()
    by_weights: tuple[Tensor, ...] = ()

    def __init__(self, layout: Layout, edges: Edges, first: bool) -> None:
        self.layout, self.edges, self.first = layout, edges, first
        self.by: Arguments | None = None

    def values(self, x: Features, harmonics: Tensor, weights: Tensor) -> Features:
        """Return the sums of messages."""
        self.at = Arguments(x, harmonics, weights)
        return unchecked_product(self.layout, x, harmonics, weights, self.edges)

    def reverse(self, g: Features) -> tuple[Features, Tensor, Tensor]:
        """Return the energy's derivative by features, harmonics and weights."""
        self.g = g
        variables = "yw" if self.first else "xyw"
        found = unchecked_gradients(self.layout, self.at, g, self.edges, variables)
        assert found.harmonics is not None
        assert found.weights is not None
        return found.x or (), found.harmonics, found.weights

    def tangent(self, dx: Features, d_harmonics: Tensor, d_weights: Tensor) -> Features:
        """Return how the sums of messages change."""
        self.by = Arguments(dx, d_harmonics, d_weights)
        return change(self.layout, self.at, self.by, self.edges)

    def gradient(self, g: Features) -> tuple[Features, Tensor]:
        """Return the loss's derivative by features and weights."""
        if self.by is not None:
            by, self.by = self.by, None
            return gradients(self.layout, self.at, by, (self.g, g), self.edges)
        found = unchecked_gradients(self.layout, self.at, g, self.edges, "xw")
        assert found.weights is not None
        return found.x or (), found.weights


class RadialStep:
    """A perceptron from the radial basis to the weights of the convolution.

    Args:
        network: The perceptron.
    """

    def __init__(self, network: ScalarMLP) -> None:
        self.steps: list[LinearStep | SiluStep] = []
        for i, weight in enumerate(network.weights):
            activated = i > 0 and network.activate
            if activated:
                self.steps.append(SiluStep())
            scale = (RMS["silu"] if activated else 1.0) / sqrt(len(weight))
            self.steps.append(LinearStep([MatrixTerm(0, 0, scale)], [weight]))
        self.weights = [weight for step in self.steps for weight in step.weights]

    def values(self, x: Tensor) -> Tensor:
        """Return the weights [E, weights]."""
        for step in self.steps:
            (x,) = step.values((x,))
        return x

    def reverse(self, g: Tensor) -> Tensor:
        """Return the energy's derivative by the basis."""
        for step in reversed(self.steps):
            (g,) = step.reverse((g,))
        return g

    def tangent(self, dx: Tensor) -> Tensor:
        """Return how the weights change."""
        for step in self.steps:
            (dx,) = step.tangent((dx,))
        return dx

    def gradient(self, g: Tensor) -> Tensor:
        """Return the loss's derivative by the basis."""
        for step in reversed(self.steps):
            (g,) = step.gradient((g,))
        return g

    @property
    def by_weights(self) -> list[Tensor]:
        """The loss's derivatives by the weights."""
        return [found for step in self.steps for found in step.by_weights]


def add_to(totals: Features, parts: Features) -> None:
    """Add to some tensors in place."""
    for total, part in zip(totals, parts, strict=True):
        total.add_(part)


def _added(total: Tensor | None, x: Tensor, matrix: Tensor, scale: float) -> Tensor:
    """Return ``total + scale x @ matrix``, in the memory of `total` if there is one."""
    if total is not None:
        _rows(total).addmm_(_rows(x), matrix, alpha=scale)
        return total
    product = _scaled_product(_rows(x), matrix, scale)
    return product.view(*x.shape[:-1], matrix.shape[1])


def _scaled_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.addmm(a.new_empty(()), a, b, beta=0, alpha=scale)


def _rows(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x.flatten(0, 1)
