"""Interaction layers with their reverse derivative written out, for inference on the CPU.

Autograd keeps every intermediate and pays for its book-keeping; a trained layer needs neither.
A layer here is: linear, convolution, linear, plus self-connection, gate. Backwards it needs only
its convolution's input and the gate's input. The tests compare with autograd.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.errors import ConfigError
from matkit.interfaces import Potential
from matkit.nn.convolution import fused
from matkit.nn.convolution.fused import Edges
from matkit.nn.convolution.paths import Layout
from matkit.nn.equivariant import RMS, Features, Gate, Linear, normalized_tanh
from matkit.nn.radial_table import RadialTable, with_slope

logger = logging.getLogger(__name__)

# Radial weights held at once where there is no table, in numbers.
WORKING_SET = 50_000_000


class EdgeData(NamedTuple):
    """What all layers share.

    Attributes:
        edges: Integer tables.
        lengths: Edge lengths [E] in Å, float64.
        harmonics: Spherical harmonics [E, (lmax + 1)²].
        index: Index of each atom's species [N].
    """

    edges: Edges
    lengths: Tensor
    harmonics: Tensor
    index: Tensor


class Tape(NamedTuple):
    """What the reverse derivative of a layer needs: inputs of its convolution and its gate."""

    sent: Features
    mixed: Features


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

    def backward(self, g: Sequence[Tensor], index: Tensor, into: list[Tensor | None]) -> None:
        """Add the derivative by the input to `into`, given that by the output."""
        for source, weight, gradient in zip(self.source, self.weights, g, strict=True):
            product = gradient @ self._matrix(weight, index).mT
            before = into[source]
            into[source] = product if before is None else before.add_(product)

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


@dataclass(frozen=True)
class FrozenInteraction:
    """A trained interaction layer.

    Attributes:
        layout: Irreps and paths of the convolution.
        linear_in: Before the convolution.
        linear_out: After it, with the division by the number of neighbours.
        self_connection: Of the layer's input.
        kept: Irreps of the gate's input that the self-connection reaches.
        gate: Last step.
        radial: From lengths [n] to weights [n, W], float64.
        table: Table of `radial`, or None to evaluate it exactly.
    """

    layout: Layout
    linear_in: FrozenLinear
    linear_out: FrozenLinear
    self_connection: FrozenLinear
    kept: tuple[int, ...]
    gate: FrozenGate
    radial: Callable[[Tensor], Tensor]
    table: RadialTable | None

    def covers(self, lengths: Tensor) -> bool:
        """Return whether no edge is shorter than the table reaches."""
        return self.table is None or self.table.covers(lengths)

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""
        sent = tuple(self.linear_in.forward(x, data.index))
        mixed = self.linear_out.forward(self._messages(sent, data), data.index)
        for place, added in zip(
            self.kept, self.self_connection.forward(x, data.index), strict=True
        ):
            mixed[place].add_(added)
        tape = Tape(sent, tuple(mixed))
        return self.gate.forward(tape.mixed), tape

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths.

        Args:
            g: Derivative by the output.
            tape: From `forward`.
            data: Shared edge data.
            first: The input depends on the species only, its derivative is not needed (empty).
        """
        by_mixed = self.gate.backward(tape.mixed, g)
        messages: list[Tensor | None] = [None] * len(self.layout.targets)
        self.linear_out.backward(by_mixed, data.index, messages)
        by_sent, by_harmonics, by_lengths = self._edge_gradients(
            tape.sent, _complete(messages), data, "yw" if first else "xyw"
        )
        if by_sent is None:
            return (), by_harmonics, by_lengths
        by_input: list[Tensor | None] = [None] * len(by_sent)
        self.linear_in.backward(by_sent, data.index, by_input)
        kept = [by_mixed[place] for place in self.kept]
        self.self_connection.backward(kept, data.index, by_input)
        return _complete(by_input), by_harmonics, by_lengths

    def _messages(self, sent: Features, data: EdgeData) -> Features:
        if self.table is not None:
            weights = self.table.interpolated(data.lengths)
            return fused.product(self.layout, sent, data.harmonics, weights, data.edges)
        parts = [
            fused.product(
                self.layout,
                sent,
                data.harmonics[first:last],
                self.radial(data.lengths[first:last]).to(data.harmonics),
                edges,
            )
            for _, first, last, edges in self._chunks(data.edges)
        ]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def _edge_gradients(
        self, sent: Features, g: Features, data: EdgeData, wanted: str
    ) -> tuple[Features | None, Tensor, Tensor]:
        if self.table is not None:
            weights = self.table.interpolated(data.lengths)
            inputs = (sent, data.harmonics, weights)
            found = fused.gradients(self.layout, inputs, g, data.edges, wanted)
            return found.x, _given(found.harmonics), _given(found.weights)
        by_sent: Features | None = None
        by_harmonics, by_lengths = torch.empty_like(data.harmonics), torch.empty_like(data.lengths)
        for atoms, first, last, edges in self._chunks(data.edges):
            value, slope = with_slope(self.radial, data.lengths[first:last])
            inputs = (sent, data.harmonics[first:last], value.to(data.harmonics))
            part = tuple(block[atoms] for block in g)
            found = fused.gradients(self.layout, inputs, part, edges, wanted)
            by_harmonics[first:last] = _given(found.harmonics)
            by_lengths[first:last] = (_given(found.weights) * slope).sum(dim=1)
            if found.x is not None and by_sent is not None:
                by_sent = tuple(a.add_(b) for a, b in zip(by_sent, found.x, strict=True))
            else:
                by_sent = found.x
        return by_sent, by_harmonics, by_lengths

    def _chunks(self, edges: Edges) -> Iterator[tuple[slice, int, int, Edges]]:
        """Yield ranges of centres whose weights fit the working set, with their edges."""
        start, n_atoms = edges.start, len(edges.start) - 1
        limit = max(1, WORKING_SET // self.layout.weight_numel)
        begin = 0
        while begin < n_atoms:
            end = int(torch.searchsorted(start, start[begin] + limit, right=True)) - 1
            end = min(max(end, begin + 1), n_atoms)
            first, last = int(start[begin]), int(start[end])
            yield slice(begin, end), first, last, _part(edges, begin, end)
            begin = end


def run(
    layers: Sequence[FrozenInteraction], x: Features, data: EdgeData
) -> tuple[Tensor, list[Tape]]:
    """Return the even scalars of the last layer [N, channels] and the tapes of all layers."""
    tapes = []
    for layer in layers:
        x, tape = layer.forward(x, data)
        tapes.append(tape)
    return x[0].squeeze(1), tapes


def reverse(
    layers: Sequence[FrozenInteraction], tapes: Sequence[Tape], g: Tensor, data: EdgeData
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of the energy by lengths [E] and harmonics [E, (lmax + 1)²].

    Args:
        layers: As in `run`.
        tapes: From `run`.
        g: Derivative by the scalars of the last layer [N, 1, channels].
        data: As in `run`.
    """
    by_lengths = torch.zeros_like(data.lengths)
    by_harmonics = torch.zeros_like(data.harmonics)
    x: Features = (g,)
    for t in range(len(layers) - 1, -1, -1):
        x, harmonics, lengths = layers[t].backward(x, tapes[t], data, first=t == 0)
        by_harmonics += harmonics
        by_lengths += lengths
    return by_lengths, by_harmonics


def checked(
    network: Potential, freeze: Callable[[], list[FrozenInteraction]]
) -> list[FrozenInteraction]:
    """Return frozen layers, or none (and say so) if the network cannot be frozen."""
    try:
        return freeze()
    except ConfigError as error:
        logger.warning("%s: inference falls back to autograd. %s", type(network).__name__, error)
        return []


def _part(edges: Edges, begin: int, end: int) -> Edges:
    """Return the edges of the centres from `begin` to `end`, these renumbered from zero."""
    if begin == 0 and end == len(edges.start) - 1:
        return edges
    start = edges.start[begin : end + 1]
    rows = slice(int(start[0]), int(start[-1]))
    neighbor = edges.neighbor[rows].contiguous()
    count = torch.bincount(neighbor, minlength=len(edges.start) - 1)
    pointers = torch.nn.functional.pad(torch.cumsum(count, 0), (1, 0))
    permutation = torch.argsort(neighbor, stable=True)
    return Edges(start - start[0], edges.center[rows] - begin, neighbor, pointers, permutation)


def _complete(parts: Sequence[Tensor | None]) -> Features:
    return tuple(_given(part) for part in parts)


def _given(part: Tensor | None) -> Tensor:
    if part is None:
        raise RuntimeError("a derivative that was asked for is missing")
    return part
