"""What layers for inference are made of, and what passes between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels.fused import Edges

# Memory used again and again, by place and shape.
Workspace = dict[tuple[int, tuple[int, ...]], Tensor]


class EdgeData(NamedTuple):
    """What all layers share.

    Attributes:
        edges: Integer tables.
        lengths: Edge lengths [E] in Å, float64.
        harmonics: Spherical harmonics [E, (lmax + 1)²].
        species: Index of each atom's species [N].
    """

    edges: Edges
    lengths: Tensor
    harmonics: Tensor
    species: Tensor


class Tape(NamedTuple):
    """What the reverse derivative of a layer needs: inputs of its convolution and its gate."""

    sent: Features
    mixed: Features


@dataclass(frozen=True)
class FeatureGradient:
    """Derivative by a feature, summed up irrep by irrep.

    Attributes:
        parts: Derivative by every irrep, None for zero.
        space: Memory to put new derivatives into; fresh pages cost as much as the product.
    """

    parts: list[Tensor | None]
    space: Workspace | None = None

    @classmethod
    def zero(cls, irreps: int, space: Workspace | None = None) -> FeatureGradient:
        """Return the derivative of nothing yet by a feature of so many irreps."""
        return cls([None] * irreps, space)

    def add(self, place: int, gradient: Tensor) -> None:
        """Add to the derivative by one irrep."""
        before = self.parts[place]
        self.parts[place] = gradient if before is None else before.add_(gradient)

    def add_product(self, place: int, gradient: Tensor, matrix: Tensor) -> None:
        """Add ``gradient @ matrix`` to the derivative by one irrep."""
        before = self.parts[place]
        if before is not None:
            before.add_(gradient @ matrix)
            return
        shape = (*gradient.shape[:-1], matrix.shape[-1])
        if self.space is not None and (place, shape) not in self.space:
            self.space[place, shape] = gradient.new_empty(shape)
        out = None if self.space is None else self.space[place, shape]
        self.parts[place] = torch.matmul(gradient, matrix, out=out)

    def whole(self) -> Features:
        """Return the derivative by all irreps, each of which something was added to."""
        return tuple(present(part) for part in self.parts)


@runtime_checkable
class SpeciesMap(Protocol):
    """A function of every atom's features and species, with its reverse derivative."""

    def forward(self, x: Features, index: Tensor) -> Features:
        """Return the function's values [N, 2l + 1, channels] per irrep."""

    def backward(self, x: Features, g: Features, index: Tensor) -> Features:
        """Return the derivative by `x`, given that by the values."""


@runtime_checkable
class NodeMap(Protocol):
    """A function of every atom's features, with its reverse derivative."""

    def forward(self, x: Features) -> Features:
        """Return the function's values [N, 2l + 1, channels] per irrep."""

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""


@runtime_checkable
class ChannelMap(Protocol):
    """A linear map of channels that may depend on the species, with its reverse derivative."""

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return the mixed features [N, 2l + 1, channels] of every output irrep.

        Args:
            x: Features of every input irrep.
            index: Index of each atom's species [N].
        """

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add the derivative by the input to `into`, given that by every output irrep."""


@runtime_checkable
class FrozenLayer(Protocol):
    """A layer for inference."""

    def covers(self, lengths: Tensor) -> bool:
        """Return whether it can be used for edges of these lengths [E]."""

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, space: Workspace, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths.

        Args:
            g: Derivative by the output.
            tape: From `forward`.
            data: Shared edge data.
            space: Memory that all layers use in turn.
            first: The input depends on the species only, its derivative is not needed (empty).
        """


def present(part: Tensor | None) -> Tensor:
    """Return a derivative that was asked for.

    Raises:
        RuntimeError: it is missing.
    """
    if part is None:
        raise RuntimeError("a derivative that was asked for is missing")
    return part
