"""A trained network of few atoms as two calls: its layers recorded as sequences of launches.

Step by step, a small network spends three quarters of its time between the kernels. A layer that
can be recorded says once which launches it is made of and, as a function of the derivative by its
result, those of the way back. They are bound to memory of their own, which holds as long as the
atoms stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from threading import Lock
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import EdgeData, present
from matkit.nn.frozen.passes import LastStep, LayerGradients, Passed
from matkit.nn.frozen.radial_table import RadialTable
from matkit.nn.kernels.fused import Edges, kernel_entry
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.products import product_entry
from matkit.nn.kernels.sequence import LaunchSequence

# From the derivative by a result to that by the input; nothing for the first layer.
Reverse = Callable[[Features], Features]
# Edges that there is memory for beyond those at the time of recording.
SPARE = 1.25


@runtime_checkable
class RecordedMap(Protocol):
    """A linear map of channels that can say which launches it is made of."""

    def record(
        self, recording: RecordedNetwork, x: Features, into: Mapping[int, Tensor]
    ) -> Features:
        """Record the map; return the result of every output irrep.

        Args:
            recording: Where to.
            x: Input.
            into: Memory, by output irrep, that results are added to.
        """

    def record_back(
        self, recording: RecordedNetwork, g: Sequence[Tensor], into: dict[int, Tensor]
    ) -> None:
        """Record the derivative by every input irrep, added to what is in `into`."""


@runtime_checkable
class RecordedNode(Protocol):
    """A function of every atom's features that can say which launches it is made of."""

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Record the function; return its values."""

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Record the derivative by `x`, given that by the values, and return it."""


@runtime_checkable
class RecordedLayer(Protocol):
    """A layer that can say which launches it is made of."""

    @property
    def recordable(self) -> bool:
        """Whether all its parts can."""

    def record(
        self, recording: RecordedNetwork, x: Features, first: bool
    ) -> tuple[Features, Reverse]:
        """Record the layer; return its result and what records the way back.

        Args:
            recording: Where to.
            x: Input.
            first: The input depends on the species only, its derivative is not needed (empty).
        """


class RecordedNetwork:
    """Launches of some layers and the memory they use.

    Args:
        layers: Layers that can be recorded.
        x: Input of the first one; only its shape counts.
        data: Edges; others of the same atoms may take their place.
    """

    def __init__(self, layers: Sequence[RecordedLayer], x: Features, data: EdgeData) -> None:
        self.species, self.dtype = data.species.tolist(), data.harmonics.dtype
        self.capacity = int(SPARE * len(data.lengths)) + 64
        self._layers, self._count, self._lock = layers, 0, Lock()
        edges = data.edges
        self._edges = [torch.empty_like(part) for part in (edges.start, edges.transpose_start)]
        self._edges += [torch.empty(self.capacity, dtype=torch.long) for _ in range(3)]
        self._harmonics = torch.empty(self.capacity, data.harmonics.shape[1], dtype=self.dtype)
        self._places = torch.empty(self.capacity, dtype=torch.float64)
        self._loaded: Edges | None = None
        self._input = tuple(torch.empty_like(part) for part in x)
        self._launches = self._forward = LaunchSequence()
        self._record()
        self._backward = LaunchSequence()
        self._g: list[Tensor | None] = []

    def _record(self) -> None:
        x, self._ways_back, self._scalars = self._input, [], []
        for t, layer in enumerate(self._layers):
            x, back = layer.record(self, x, t == 0)
            self._ways_back.append(back)
            self._scalars.append(x[0])

    def _record_back(self, g: LayerGradients) -> None:
        """Record the way back from derivatives by the scalars of those layers that have one."""
        self._launches = self._backward = LaunchSequence()
        size = self._count, self.capacity
        self._by_harmonics = torch.empty(*size, self._harmonics.shape[1], dtype=self.dtype)
        self._by_places = torch.empty(size, dtype=self.dtype)
        self._g = [None if part is None else torch.empty_like(part) for part in g]
        x: Features = ()
        for back, own in zip(reversed(self._ways_back), reversed(self._g), strict=True):
            if x and own is not None:
                self.add(own, x[0])
            x = back(x or (present(own),))

    def fits(self, layers: Sequence[object], data: EdgeData) -> bool:
        """Return whether it is of these layers and these edges can take the place of its own."""
        same = layers[0] is self._layers[0] and data.species.tolist() == self.species
        return same and len(data.lengths) <= self.capacity

    def passes(self, x: Features, data: EdgeData, last: LastStep) -> Passed:
        """Go through all layers and back, one caller after the other."""
        with self._lock:
            scalars = self._run(x, data)
            energy, g = last(scalars)
            return Passed(energy, scalars, *self._reverse(g, data))

    def _run(self, x: Features, data: EdgeData) -> list[Tensor]:
        n, edges = len(data.lengths), data.edges
        if edges is not self._loaded:
            start, center, neighbor, transpose_start, transpose = edges
            given = start, transpose_start, center, neighbor, transpose
            for mine, theirs in zip(self._edges, given, strict=True):
                mine[: len(theirs)] = theirs
            self._loaded = edges
        self._harmonics[:n] = data.harmonics
        torch.log(data.lengths, out=self._places[:n])
        for mine, theirs in zip(self._input, x, strict=True):
            mine.copy_(theirs)
        self._forward.run()
        return [part.squeeze(1).clone() for part in self._scalars]

    def _reverse(self, g: LayerGradients, data: EdgeData) -> tuple[Tensor, Tensor]:
        if [part is None for part in g] != [part is None for part in self._g]:
            self._record_back(g)
        for mine, theirs in zip(self._g, g, strict=True):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)
        self._backward.run()
        n = len(data.lengths)
        by_lengths = self._by_places[:, :n].sum(dim=0) / data.lengths
        return by_lengths, self._by_harmonics[:, :n].sum(dim=0)

    def features(self, irreps: Sequence[tuple[int, int]]) -> Features:
        """Return memory for features of some degrees and channels."""
        n = len(self.species)
        shapes = ((n, 2 * degree + 1, channels) for degree, channels in irreps)
        return tuple(torch.empty(shape, dtype=self.dtype) for shape in shapes)

    def launch(
        self, entry: int, arguments: Sequence[Tensor | int], rows: int | None = None
    ) -> None:
        """Append a launch, by default with a row for every atom."""
        last = len(self.species) if rows is None else rows
        self._launches.add(entry, arguments, (0, last))

    def product(
        self, x: Tensor, matrix: Tensor | Mapping[int, Tensor], out: Tensor, add: bool
    ) -> None:
        """Append ``out = x @ matrix``, or ``out +=``, perhaps with a matrix for every species."""
        entry = product_entry(SCALARS[self.dtype], add)
        if isinstance(matrix, Tensor):
            rows = 0, x.shape[0] * x.shape[1]
            self._launches.add(entry, [x, matrix, out, *matrix.shape], rows)
            return
        last = 0
        for species, atoms in groupby(self.species):
            first, last = last, last + len(list(atoms))
            rows = first * x.shape[1], last * x.shape[1]
            own = matrix[species]
            self._launches.add(entry, [x, own, out, *own.shape], rows)

    def add(self, x: Tensor, out: Tensor) -> None:
        """Append ``out += x``; of unequal channels the first ones are added."""
        # A product with ones on the diagonal: some microseconds, and no kernel of its own.
        self.product(x, torch.eye(x.shape[2], out.shape[2], dtype=self.dtype), out, True)

    def convolve(
        self, layout: Layout, sent: Features, table: RadialTable, first: bool
    ) -> tuple[Features, Reverse]:
        """Append a convolution; return the messages and what appends its derivatives.

        Args:
            layout: Irreps and paths.
            sent: What is sent.
            table: Of the radial weights.
            first: The derivative by what is sent is not needed (empty).
        """
        out, number = self.features(layout.targets), self._count
        self._count += 1
        start, _, _, neighbor, _ = self._edges
        operands: list[Tensor | int] = [start, 0, neighbor]
        operands += [*self._edge_operands(table), *sent, *out]
        self.launch(kernel_entry(layout, self.dtype, "", True), operands)

        def back(g: Features) -> Features:
            by_sent = () if first else tuple(map(torch.empty_like, sent))
            start, transpose_start, center, neighbor, transpose = self._edges
            by_atom: list[Tensor | int] = [start, 0, neighbor]
            rows = by_atom if first else [transpose_start, transpose, center]
            tensors = [*rows, *self._edge_operands(table), *sent, *g, *by_sent]
            tensors += [self._by_harmonics[number], self._by_places[number]]
            self.launch(kernel_entry(layout, self.dtype, "yw" if first else "xyw", True), tensors)
            return by_sent

        return out, back

    def _edge_operands(self, table: RadialTable) -> list[Tensor]:
        return [self._harmonics, table.rows, self._places, table.grid]
