"""Linear maps and gates of a trained network, with their reverse derivatives written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.nn.equivariant import RMS, Features, Gate, Linear, normalized_tanh

# Memory used again and again, by place and shape.
Workspace = dict[tuple[int, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class FrozenLinear:
    """A `Linear` with its normalisation multiplied into the weights."""

    source: tuple[int, ...]
    weights: tuple[Tensor, ...]
    by_species: bool

    @classmethod
    def of(cls, linear: Linear, factor: float = 1.0) -> FrozenLinear:
        """Freeze a layer, multiplied by `factor`."""
        weights = tuple(
            (weight.detach() * (scale * factor)).contiguous()
            for weight, scale in zip(linear.weights, linear.scales, strict=True)
        )
        return cls(tuple(linear.source), weights, weights[0].ndim == 3)

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return the mixed features [N, 2l + 1, channels] of every output irrep."""
        pairs = zip(self.source, self.weights, strict=True)
        return [x[source] @ self._matrix(weight, index) for source, weight in pairs]

    def backward(
        self,
        g: Sequence[Tensor],
        index: Tensor,
        into: list[Tensor | None],
        space: Workspace | None = None,
    ) -> None:
        """Add the derivative by the input to `into`, given that by the output.

        Args:
            g: Derivative by the output of every irrep.
            index: Index of each atom's species [N].
            into: Derivative by the input of every irrep, None for zero.
            space: Memory to put new derivatives into; fresh pages cost as much as the product.
        """
        for source, weight, gradient in zip(self.source, self.weights, g, strict=True):
            matrix, before = self._matrix(weight, index).mT, into[source]
            if before is not None:
                before.add_(gradient @ matrix)
                continue
            shape = (*gradient.shape[:-1], matrix.shape[-1])
            if space is not None and (source, shape) not in space:
                space[source, shape] = gradient.new_empty(shape)
            out = None if space is None else space[source, shape]
            into[source] = torch.matmul(gradient, matrix, out=out)

    def _matrix(self, weight: Tensor, index: Tensor) -> Tensor:
        return weight[index] if self.by_species else weight


@dataclass(frozen=True)
class FrozenGate:
    """A `Gate` with its reverse derivative."""

    scalars: int
    gates: tuple[int, ...]
    degrees: tuple[int, ...]

    @classmethod
    def of(cls, gate: Gate) -> FrozenGate:
        """Freeze a gate."""
        return cls(gate.scalars, tuple(gate.gates), tuple(degree for degree, _ in gate.kinds))

    def forward(self, x: Features) -> Features:
        """Return activated features."""
        silu = torch.nn.functional.silu
        scalars, *gates = torch.split(x[0], [self.scalars, *self.gates], dim=2)
        gate = iter(gates)
        rest = [
            normalized_tanh(part) if degree == 0 else part * silu(next(gate)).mul_(RMS["silu"])
            for part, degree in zip(x[1:], self.degrees, strict=True)
        ]
        return (silu(scalars).mul_(RMS["silu"]), *rest)

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by the input `x`, given that by the output."""
        by_scalars, *by_rest = g
        # Scalars and gates share one activation: collect what arrives at it, then apply it once.
        arriving, rest = [by_scalars], []
        gates = iter(torch.split(x[0], [self.scalars, *self.gates], dim=2)[1:])
        for part, gradient, degree in zip(x[1:], by_rest, self.degrees, strict=True):
            if degree == 0:
                slope = 1 - torch.tanh(part).square_()
                rest.append(gradient * slope.mul_(RMS["tanh"]))
            else:
                activated = torch.nn.functional.silu(next(gates)).mul_(RMS["silu"])
                rest.append(gradient * activated)
                arriving.append((gradient * part).sum(dim=1, keepdim=True))
        even = torch.ops.aten.silu_backward(torch.cat(arriving, dim=2), x[0])
        return (even.mul_(RMS["silu"]), *rest)
