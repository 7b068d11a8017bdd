"""The read-out of a trained network, with its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from matkit.nn.equivariant import RMS, ScalarMLP, normalized_silu


@dataclass(frozen=True)
class FrozenReadout:
    """A `ScalarMLP` with one output.

    Attributes:
        matrices: Of its layers, with their normalisation; one matrix where none is activated.
    """

    matrices: tuple[Tensor, ...]

    @classmethod
    def of(cls, mlp: ScalarMLP) -> FrozenReadout:
        """Freeze a perceptron."""
        if not mlp.activate:
            return cls((mlp.as_matrix.detach(),))
        return cls(tuple(weight.detach() / sqrt(len(weight)) for weight in mlp.weights))

    def with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values [N] and their derivatives by the scalars `x`, [N, C] like these."""
        *inner, last = self.matrices
        sums = []
        for matrix in inner:
            x = x @ matrix
            sums.append(x)
            x = normalized_silu(x)
        g = last.T.expand(len(x), -1)
        for matrix, before in zip(reversed(inner), reversed(sums), strict=True):
            g = torch.ops.aten.silu_backward(g, before).mul_(RMS["silu"]) @ matrix.T
        return (x @ last).squeeze(1), g
