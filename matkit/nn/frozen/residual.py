"""A layer to whose result its input is added, for inference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import EdgeData, FrozenLayer, Tape, Workspace
from matkit.nn.residual import Pairs, add_matching, add_matching_gradient


@dataclass(frozen=True)
class FrozenResidual:
    """A layer to whose result its input is added.

    Attributes:
        inner: The layer.
        same: Places of equal irreps in result and input.
    """

    inner: FrozenLayer
    same: Pairs

    def covers(self, lengths: Tensor) -> bool:
        """Return whether the layer can be used for edges of these lengths [E]."""
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
