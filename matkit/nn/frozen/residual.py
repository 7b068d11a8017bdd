"""A layer to whose result its input is added, for inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import EdgeData, FrozenLayer, Tape, Workspace
from matkit.nn.frozen.recording import RecordedLayer, RecordedNetwork, Reverse
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

    @property
    def recordable(self) -> bool:
        """Whether all parts of the layer can be recorded."""
        return isinstance(self.inner, RecordedLayer) and self.inner.recordable

    def record(
        self, recording: RecordedNetwork, x: Features, first: bool
    ) -> tuple[Features, Reverse]:
        """Record the layer; return its result and what records the way back."""
        y, inner_back = cast(RecordedLayer, self.inner).record(recording, x, first)
        for o, i in self.same:
            recording.add(x[i], y[o])

        def back(g: Features) -> Features:
            by_input = inner_back(g)
            for o, i in () if first else self.same:
                recording.add(g[o], by_input[i])
            return by_input

        return y, back
