"""Interaction layers with their reverse derivative written out, for inference.

Autograd keeps every intermediate and pays for its book-keeping; a trained layer needs neither.
A layer here is: linear, convolution, linear, plus self-connection, gate. Backwards it needs only
its convolution's input and the gate's input. The tests compare with autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.convolution import backends, fused
from matkit.nn.convolution.fused import Edges
from matkit.nn.convolution.paths import Layout
from matkit.nn.equivariant import Features
from matkit.nn.frozen import FrozenLinear, Workspace
from matkit.nn.radial_functions import with_slope
from matkit.nn.radial_table import RadialTable
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures

EdgeGradient = Callable[[Graph], tuple[Properties, Tensor] | None]

# Radial weights held at once where there is no table, in numbers.
WORKING_SET = 50_000_000

# Centres convolved at once where there is a table.
CENTERS = 4096


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


@runtime_checkable
class NodeMap(Protocol):
    """A function of every atom's features, with its reverse derivative."""

    def forward(self, x: Features) -> Features:
        """Return the function's values [N, 2l + 1, channels] per irrep."""

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""


@runtime_checkable
class ChannelMap(Protocol):
    """A linear map of channels; see `FrozenLinear`."""

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return the mixed features."""

    def backward(
        self,
        g: Sequence[Tensor],
        index: Tensor,
        into: list[Tensor | None],
        space: Workspace | None = None,
    ) -> None:
        """Add the derivative by the input to `into`."""


@runtime_checkable
class Layer(Protocol):
    """A layer for inference; see `FrozenInteraction`."""

    def covers(self, lengths: Tensor) -> bool:
        """Return whether it can be used for edges of these lengths [E]."""

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, space: Workspace, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths."""


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
    linear_in: ChannelMap
    linear_out: ChannelMap
    self_connection: FrozenLinear
    kept: tuple[int, ...]
    gate: NodeMap
    radial: Callable[[Tensor], Tensor]
    table: RadialTable | None

    def covers(self, lengths: Tensor) -> bool:
        """Return whether no edge is shorter than the table reaches.

        While a CUDA graph is captured no number can be looked at: the kernels' results for such
        edges are NaN.
        """
        return self.table is None or _capturing(lengths) or self.table.covers(lengths)

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""
        sent = tuple(self.linear_in.forward(x, data.species))
        mixed = self._mixed(sent, data)
        for place, added in zip(
            self.kept, self.self_connection.forward(x, data.species), strict=True
        ):
            mixed[place].add_(added)
        tape = Tape(sent, tuple(mixed))
        return self.gate.forward(tape.mixed), tape

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
        by_mixed = self.gate.backward(tape.mixed, g)
        messages: list[Tensor | None] = [None] * len(self.layout.targets)
        self.linear_out.backward(by_mixed, data.species, messages, space)
        by_sent, by_harmonics, by_lengths = self._edge_gradients(
            tape.sent, _complete(messages), data, "yw" if first else "xyw"
        )
        if by_sent is None:
            return (), by_harmonics, by_lengths
        by_input: list[Tensor | None] = [None] * len(by_sent)
        self.linear_in.backward(by_sent, data.species, by_input)
        kept = [by_mixed[place] for place in self.kept]
        self.self_connection.backward(kept, data.species, by_input)
        return _complete(by_input), by_harmonics, by_lengths

    def _mixed(self, sent: Features, data: EdgeData) -> list[Tensor]:
        """Convolve and mix, some centres at a time: messages are wider than what is mixed."""
        parts = []
        for atoms, first, last in self._chunks(data.edges):
            edges = _part(data.edges, atoms, by_neighbor=False)
            weights = self._weights(data.lengths[first:last], data.harmonics)
            harmonics = data.harmonics[first:last]
            kernels = backends.kernels_for(harmonics.device)
            messages = kernels.product(self.layout, sent, harmonics, weights, edges)
            parts.append(self.linear_out.forward(messages, data.species[atoms]))
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(blocks) for blocks in zip(*parts, strict=True)]

    def _weights(self, lengths: Tensor, like: Tensor) -> fused.Weights:
        if self.table is not None:
            return self.table.interpolated(lengths)
        return self.radial(lengths).to(like)

    def _edge_gradients(
        self, sent: Features, g: Features, data: EdgeData, wanted: str
    ) -> tuple[Features | None, Tensor, Tensor]:
        kernels = backends.kernels_for(data.harmonics.device)
        if self.table is not None:
            weights = self.table.interpolated(data.lengths)
            tabulated = (sent, data.harmonics, weights)
            found = kernels.gradients(self.layout, tabulated, g, data.edges, wanted)
            return found.x, _given(found.harmonics), _given(found.weights)
        by_sent: Features | None = None
        by_harmonics, by_lengths = torch.empty_like(data.harmonics), torch.empty_like(data.lengths)
        for atoms, first, last in self._chunks(data.edges):
            edges = _part(data.edges, atoms, by_neighbor=True)
            value, slope = with_slope(self.radial, data.lengths[first:last])
            inputs = (sent, data.harmonics[first:last], value.to(data.harmonics))
            part = tuple(block[atoms] for block in g)
            found = kernels.gradients(self.layout, inputs, part, edges, wanted)
            by_harmonics[first:last] = _given(found.harmonics)
            by_lengths[first:last] = (_given(found.weights) * slope).sum(dim=1)
            if found.x is not None and by_sent is not None:
                by_sent = tuple(a.add_(b) for a, b in zip(by_sent, found.x, strict=True))
            else:
                by_sent = found.x
        return by_sent, by_harmonics, by_lengths

    def _chunks(self, edges: Edges) -> Iterator[tuple[slice, int, int]]:
        """Yield ranges of centres, with their first edge and the one after their last."""
        start, n_atoms = edges.start, len(edges.start) - 1
        if self._in_one(n_atoms, len(edges.center), start.is_cuda):
            yield slice(0, n_atoms), 0, len(edges.center)
            return
        # A table holds no weight per edge; the messages are what grows with the centres.
        limit = max(1, WORKING_SET // self.layout.weight_numel)
        begin = 0
        while begin < n_atoms:
            end = begin + CENTERS
            if self.table is None:
                end = int(torch.searchsorted(start, start[begin] + limit, right=True)) - 1
            end = min(max(end, begin + 1), n_atoms)
            yield slice(begin, end), int(start[begin]), int(start[end])
            begin = end

    def _in_one(self, n_atoms: int, n_edges: int, on_gpu: bool) -> bool:
        """Return whether all centres fit at once; said without looking at the pointers."""
        if self.table is None:
            return n_edges * self.layout.weight_numel <= WORKING_SET
        # A GPU has no cache worth the waiting.
        return on_gpu or n_atoms <= CENTERS


def run(layers: Sequence[Layer], x: Features, data: EdgeData) -> tuple[Tensor, list[Tape]]:
    """Return the even scalars of the last layer [N, channels] and the tapes of all layers."""
    tapes = []
    for layer in layers:
        x, tape = layer.forward(x, data)
        tapes.append(tape)
    return x[0].squeeze(1), tapes


def reverse(
    layers: Sequence[Layer], tapes: Sequence[Tape], g: Tensor, data: EdgeData
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
    space: Workspace = {}
    x: Features = (g,)
    for t in range(len(layers) - 1, -1, -1):
        x, harmonics, lengths = layers[t].backward(x, tapes[t], data, space, first=t == 0)
        by_harmonics += harmonics
        by_lengths += lengths
    return by_lengths, by_harmonics


def agrees(
    gradient: EdgeGradient, exact: Potential, tolerance: float, device: torch.device
) -> bool:
    """Compare the written-out derivative with autograd on a small random molecule.

    Args:
        gradient: Derivative on trial, like `Potential.edge_gradient`.
        exact: The same network in float64 on the CPU, on the reference backend.
        tolerance: Largest error of a force, relative to the largest force.
        device: Where the derivative is computed.
    """
    graph = _probe(exact)
    positions = graph.positions.clone().requires_grad_()
    with torch.enable_grad():
        energy = exact(graph.replace(positions=positions))["atom_energy"]
        (expected,) = torch.autograd.grad(energy.sum(), positions)
    found = gradient(graph.to(device))
    if found is None:
        return False
    result, by_edge = {"atom_energy": found[0]["atom_energy"].cpu()}, found[1].cpu()
    n_atoms = len(graph.species)
    got = scatter_sum(by_edge, graph.neighbor, n_atoms)
    got = got - scatter_sum(by_edge, graph.center, n_atoms)
    error = (got - expected).abs().max()
    energy_error = (result["atom_energy"] - energy.detach()).abs().max()
    # Not strictly less: an untrained network may have no forces at all.
    agreed = error <= tolerance * expected.abs().max()
    return bool(agreed) and bool(energy_error <= tolerance * energy.abs().max())


def _probe(network: Potential) -> Graph:
    """Return eight atoms of the network's elements, no two of them closer than 1 Å."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    spacing = max(1.6, 0.4 * network.cutoff)
    noise = 0.3 * torch.rand(8, 3, generator=generator, dtype=torch.float64)
    species = torch.tensor(network.species)[torch.arange(8) * 7 % len(network.species)]
    structures = Structures(
        positions=spacing * corners + noise,
        species=species,
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([8]),
    )
    return network.featurize(structures)


def _part(edges: Edges, atoms: slice, by_neighbor: bool) -> Edges:
    """Return the edges of a range of centres, these renumbered from zero.

    Args:
        edges: All edges.
        atoms: Range of centres.
        by_neighbor: Whether the order by neighbour is needed too.
    """
    n_atoms = len(edges.start) - 1
    if (atoms.start, atoms.stop) == (0, n_atoms):
        return edges
    start = edges.start[atoms.start : atoms.stop + 1]
    rows = slice(int(start[0]), int(start[-1]))
    center, neighbor = edges.center[rows] - atoms.start, edges.neighbor[rows].contiguous()
    if not by_neighbor:
        return Edges(start - start[0], center, neighbor, edges.transpose_start, edges.transpose)
    pointers = torch.nn.functional.pad(
        torch.cumsum(torch.bincount(neighbor, minlength=n_atoms), 0), (1, 0)
    )
    return Edges(start - start[0], center, neighbor, pointers, torch.argsort(neighbor, stable=True))


def _capturing(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _complete(parts: Sequence[Tensor | None]) -> Features:
    return tuple(_given(part) for part in parts)


def _given(part: Tensor | None) -> Tensor:
    if part is None:
        raise RuntimeError("a derivative that was asked for is missing")
    return part
