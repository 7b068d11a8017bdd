"""An interaction layer of a trained network: linear, convolution, linear, self-connection, gate.

Backwards it needs only its convolution's input and the gate's input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.channels import FrozenLinear
from matkit.nn.frozen.contracts import (
    ChannelMap,
    EdgeData,
    FeatureGradient,
    NodeMap,
    Tape,
    Workspace,
    present,
)
from matkit.nn.frozen.edge_ranges import (
    EdgeRange,
    edges_of_range,
    tabulated_ranges,
    weighted_ranges,
)
from matkit.nn.frozen.radial_table import RadialTable
from matkit.nn.frozen.recording import RecordedMap, RecordedNetwork, RecordedNode, Reverse
from matkit.nn.kernels import backends
from matkit.nn.kernels.fused import Edges, Weights
from matkit.nn.kernels.paths import Layout
from matkit.nn.radial_functions import Radial, with_slope


@dataclass(frozen=True)
class FrozenInteraction:
    """A trained interaction layer.

    Attributes:
        layout: Irreps and paths of the convolution.
        linear_in: Before the convolution.
        linear_out: After it, with the division by the number of neighbours.
        self_connection: Of the layer's input.
        places: Irreps of the gate's input that the self-connection is added to.
        gate: Last step.
        radial: From lengths [n] to weights [n, W], float64.
        table: Table of `radial`, or None to evaluate it exactly.
    """

    layout: Layout
    linear_in: ChannelMap
    linear_out: ChannelMap
    self_connection: FrozenLinear
    places: tuple[int, ...]
    gate: NodeMap
    radial: Radial
    table: RadialTable | None

    def covers(self, lengths: Tensor) -> bool:
        """Return whether no edge is shorter than the table reaches.

        While a CUDA graph is captured no number can be looked at: the kernels' results for such
        edges are NaN.
        """
        return self.table is None or capturing(lengths) or self.table.covers(lengths)

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""
        sent = tuple(self.linear_in.forward(x, data.species))
        mixed = self._messages(sent, data)
        connection = self.self_connection.forward(x, data.species)
        for place, added in zip(self.places, connection, strict=True):
            mixed[place].add_(added)
        tape = Tape(sent, tuple(mixed))
        return self.gate.forward(tape.mixed), tape

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, space: Workspace, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths."""
        by_mixed = self.gate.backward(tape.mixed, g)
        by_messages = FeatureGradient.zero(len(self.layout.targets), space)
        self.linear_out.backward(by_mixed, data.species, by_messages)
        by_sent, by_harmonics, by_lengths = self._edge_gradients(
            tape.sent, by_messages.whole(), data, "yw" if first else "xyw"
        )
        if by_sent is None:
            return (), by_harmonics, by_lengths
        by_input = FeatureGradient.zero(len(by_sent))
        self.linear_in.backward(by_sent, data.species, by_input)
        by_connection = [by_mixed[place] for place in self.places]
        self.self_connection.backward(by_connection, data.species, by_input)
        return by_input.whole(), by_harmonics, by_lengths

    @property
    def recordable(self) -> bool:
        """Whether all its parts can be recorded."""
        maps = (self.linear_in, self.linear_out)
        linear = all(isinstance(part, RecordedMap) for part in maps)
        return linear and isinstance(self.gate, RecordedNode) and self.table is not None

    def record(
        self, recording: RecordedNetwork, x: Features, first: bool
    ) -> tuple[Features, Reverse]:
        """Record the layer; return its result and what records the way back."""
        linear_in, linear_out = (
            cast(RecordedMap, self.linear_in),
            cast(RecordedMap, self.linear_out),
        )
        gate, table = cast(RecordedNode, self.gate), cast(RadialTable, self.table)
        sent = linear_in.record(recording, x, {})
        messages, convolution_back = recording.convolve(self.layout, sent, table, first)
        mixed = linear_out.record(recording, messages, {})
        sums = {i: mixed[place] for i, place in enumerate(self.places)}
        self.self_connection.record(recording, x, sums)

        def back(g: Features) -> Features:
            by_mixed = gate.record_back(recording, mixed, g)
            by_messages: dict[int, Tensor] = {}
            linear_out.record_back(recording, by_mixed, by_messages)
            arriving = tuple(by_messages[k] for k in range(len(messages)))
            by_sent = convolution_back(arriving)
            if first:
                return ()
            by_input: dict[int, Tensor] = {}
            linear_in.record_back(recording, by_sent, by_input)
            connected = [by_mixed[place] for place in self.places]
            self.self_connection.record_back(recording, connected, by_input)
            return tuple(by_input[k] for k in range(len(x)))

        return gate.record(recording, mixed), back

    def _messages(self, sent: Features, data: EdgeData) -> list[Tensor]:
        """Convolve and mix, some centres at a time: messages are wider than what is mixed."""
        parts = []
        kernels = backends.kernels_for(data.harmonics.device)
        for atoms, first, last in self._ranges(data.edges):
            edges = edges_of_range(data.edges, atoms, by_neighbor=False)
            weights = self._weights(data.lengths[first:last], data.harmonics)
            harmonics = data.harmonics[first:last]
            messages = kernels.product(self.layout, sent, harmonics, weights, edges)
            parts.append(self.linear_out.forward(messages, data.species[atoms]))
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(blocks) for blocks in zip(*parts, strict=True)]

    def _weights(self, lengths: Tensor, like: Tensor) -> Weights:
        if self.table is not None:
            return self.table.weights(lengths)
        return self.radial(lengths).to(like)

    def _edge_gradients(
        self, sent: Features, g: Features, data: EdgeData, variables: str
    ) -> tuple[Features | None, Tensor, Tensor]:
        """Return derivatives by what was sent, the harmonics and the lengths."""
        if self.table is None:
            return self._exact_gradients(sent, g, data, variables)
        kernels = backends.kernels_for(data.harmonics.device)
        inputs = (sent, data.harmonics, self.table.weights(data.lengths))
        by = kernels.gradients(self.layout, inputs, g, data.edges, variables)
        return by.x, present(by.harmonics), present(by.weights)

    def _exact_gradients(
        self, sent: Features, g: Features, data: EdgeData, variables: str
    ) -> tuple[Features | None, Tensor, Tensor]:
        """Return the same without a table, some centres at a time."""
        kernels = backends.kernels_for(data.harmonics.device)
        by_sent: Features | None = None
        by_harmonics, by_lengths = torch.empty_like(data.harmonics), torch.empty_like(data.lengths)
        for atoms, first, last in self._ranges(data.edges):
            edges = edges_of_range(data.edges, atoms, by_neighbor=True)
            value, slope = with_slope(self.radial, data.lengths[first:last])
            inputs = (sent, data.harmonics[first:last], value.to(data.harmonics))
            part = tuple(block[atoms] for block in g)
            by = kernels.gradients(self.layout, inputs, part, edges, variables)
            by_harmonics[first:last] = present(by.harmonics)
            by_lengths[first:last] = (present(by.weights) * slope).sum(dim=1)
            if by.x is not None and by_sent is not None:
                by_sent = tuple(a.add_(b) for a, b in zip(by_sent, by.x, strict=True))
            else:
                by_sent = by.x
        return by_sent, by_harmonics, by_lengths

    def _ranges(self, edges: Edges) -> Iterator[EdgeRange]:
        if self.table is not None:
            return tabulated_ranges(edges)
        return weighted_ranges(edges, self.layout.weight_numel)


def capturing(tensor: Tensor) -> bool:
    """Return whether a CUDA graph is being captured, so that no number can be looked at."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()
