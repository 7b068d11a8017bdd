"""What a trained network does at single atoms, by autograd on some atoms at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.nn.embedding import SpeciesScale
from matkit.nn.equivariant import Features
from matkit.nn.frozen import FrozenLinear, Workspace
from matkit.nn.inference import EdgeData, FrozenInteraction, Tape
from matkit.nn.residual import Pairs, add_matching, add_matching_gradient

# Atoms at once: their values on a grid should fit the cache.
ATOMS = 64


@dataclass(frozen=True)
class FrozenIdentity:
    """A linear map that changes nothing."""

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return the features."""
        return list(x)

    def backward(
        self,
        g: Sequence[Tensor],
        index: Tensor,
        into: list[Tensor | None],
        space: Workspace | None = None,
    ) -> None:
        """Add `g` to `into`."""
        for i, gradient in enumerate(g):
            before = into[i]
            into[i] = gradient if before is None else before.add_(gradient)


@dataclass(frozen=True)
class FrozenScaled:
    """A linear map whose values are scaled by species.

    Attributes:
        linear: The map.
        scale: What its values are multiplied by.
    """

    linear: FrozenLinear
    scale: SpeciesScale

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return mixed and scaled features."""
        return list(self.scale(tuple(self.linear.forward(x, index)), index))

    def backward(
        self,
        g: Sequence[Tensor],
        index: Tensor,
        into: list[Tensor | None],
        space: Workspace | None = None,
    ) -> None:
        """Add the derivative by the input to `into`, given that by the values."""
        self.linear.backward(self.scale(tuple(g), index), index, into, space)


@dataclass(frozen=True)
class FrozenNode:
    """Any differentiable function of single atoms.

    Attributes:
        function: From features to features.
    """

    function: Callable[[Features], Features]

    def forward(self, x: Features) -> Features:
        """Return the values."""
        parts = [self.function(part) for part in _chunks(x)]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`; values are computed again rather than kept."""
        parts = [self._backward(*pair) for pair in zip(_chunks(x), _chunks(g), strict=True)]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def _backward(self, x: Features, g: Features) -> Features:
        with torch.enable_grad():
            leaves = tuple(part.detach().requires_grad_() for part in x)
            return torch.autograd.grad(self.function(leaves), leaves, g)


@dataclass(frozen=True)
class FrozenResidual:
    """A layer to whose result its input is added.

    Attributes:
        inner: The layer.
        same: Places of equal irreps in result and input.
    """

    inner: FrozenInteraction
    same: Pairs

    def covers(self, lengths: Tensor) -> bool:
        """Return whether no edge is shorter than the layer's table reaches."""
        return self.inner.covers(lengths)

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""
        y, tape = self.inner.forward(x, data)
        return add_matching(y, x, self.same), tape

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, space: Workspace, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths."""
        by_input, by_harmonics, by_lengths = self.inner.backward(g, tape, data, space, first)
        if not first:
            by_input = add_matching_gradient(by_input, g, self.same)
        return by_input, by_harmonics, by_lengths


def _chunks(x: Features) -> list[Features]:
    if x[0].is_cuda:  # no cache worth more launches
        return [x]
    return list(zip(*(part.split(ATOMS) for part in x), strict=True))
