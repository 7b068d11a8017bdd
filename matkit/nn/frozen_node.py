"""What a trained network does at single atoms, with its reverse derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.nn.embedding import SpeciesScale
from matkit.nn.equivariant import Features
from matkit.nn.frozen import FrozenGate, FrozenLinear, Workspace
from matkit.nn.inference import EdgeData, FrozenInteraction, Tape
from matkit.nn.mixing import EquivariantNorm, GateMixer
from matkit.nn.residual import Pairs, add_matching, add_matching_gradient

# For linear maps that are the same for all species.
_NO_SPECIES = torch.empty(0, dtype=torch.long)
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
    """Any differentiable function of single atoms, by autograd on some atoms at a time.

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
class FrozenNorm:
    """An `EquivariantNorm` with its reverse derivative.

    Attributes:
        weights: Of every irrep, even scalars first.
        offset: Of the mean squares.
        numel: Numbers that the irreps after the scalars have together.
    """

    weights: Features
    offset: float
    numel: int

    @classmethod
    def of(cls, norm: EquivariantNorm) -> FrozenNorm:
        """Freeze a norm."""
        return cls(tuple(weight.detach() for weight in norm.weights), norm.offset, norm.numel)

    def forward(self, x: Features) -> Features:
        """Return normalised features."""
        centered, factors = self._factors(x)
        parts = zip(centered, factors, self.weights, strict=True)
        return tuple(part * factor * weight for part, factor, weight in parts)

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""
        centered, factors = self._factors(x)
        weighted = [part * weight for part, weight in zip(g, self.weights, strict=True)]
        scalar = _normalised(weighted[:1], centered[:1], factors[0], x[0].shape[2])
        found = [scalar[0].sub_(scalar[0].mean(dim=2, keepdim=True))]
        if self.numel:
            found += _normalised(weighted[1:], centered[1:], factors[1], self.numel)
        return tuple(found)

    def _factors(self, x: Features) -> tuple[Features, list[Tensor]]:
        """Return features with centred scalars, and what every irrep is multiplied by."""
        scalars = x[0] - x[0].mean(dim=2, keepdim=True)
        factors = [torch.rsqrt(scalars.square().mean(dim=2, keepdim=True).add_(self.offset))]
        if self.numel:
            squares = [part.square().sum(dim=(1, 2), keepdim=True) for part in x[1:]]
            mean = torch.stack(squares).sum(dim=0).div_(self.numel)
            factors += [torch.rsqrt(mean.add_(self.offset))] * (len(x) - 1)
        return (scalars, *x[1:]), factors


@dataclass(frozen=True)
class FrozenGateMixer:
    """A gate, a linear map and a norm with their reverse derivative.

    Values are computed again on the way back rather than kept.
    """

    gate: FrozenGate
    linear: FrozenLinear
    norm: FrozenNorm

    @classmethod
    def of(cls, mixer: GateMixer, norm: EquivariantNorm) -> FrozenGateMixer:
        """Freeze what follows on the messages in a layer with a gate."""
        return cls(FrozenGate.of(mixer.gate), FrozenLinear.of(mixer.linear), FrozenNorm.of(norm))

    def forward(self, x: Features) -> Features:
        """Return the values."""
        return self.norm.forward(self._mixed(x))

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""
        by_mixed = self.norm.backward(self._mixed(x), g)
        by_gated: list[Tensor | None] = [None] * len(g)
        self.linear.backward(by_mixed, _NO_SPECIES, by_gated)
        return self.gate.backward(x, tuple(part for part in by_gated if part is not None))

    def _mixed(self, x: Features) -> Features:
        return tuple(self.linear.forward(self.gate.forward(x), _NO_SPECIES))


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


def _normalised(
    g: Sequence[Tensor], x: Sequence[Tensor], factor: Tensor, numel: int
) -> list[Tensor]:
    """Return the derivative by `x` of `x` times a factor of the mean square of its numbers."""
    along = torch.stack(
        [(a * b).sum(dim=(1, 2), keepdim=True) for a, b in zip(g, x, strict=True)]
    ).sum(dim=0)
    along.mul_(factor.pow(3)).div_(numel)
    return [a * factor - b * along for a, b in zip(g, x, strict=True)]
