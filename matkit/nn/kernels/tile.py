"""Generates what forward and backward kernels share: rows, tiles of edges, couplings, weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import Kernel
from matkit.nn.kernels.paths import Coupling, Pair, pairs

Degrees = tuple[int, int, int]

TILE = 16  # edges whose couplings are prepared at once

# Longer rows of weights are asked for ahead: the processor does not foresee strides over pages.
# Measured: 2.3 times faster at 14 kB, 8 % slower at 4 kB.
PREFETCH_BYTES = 8192


class TileWriter(ABC):
    """Writes the loop over rows (atoms) and, within each, over tiles of 16 of its edges.

    For 16 edges at once, with edges along the vector, Y becomes the matrices G[m1, m3] of all
    couplings, non-zero entries only. No number is ever written by two threads, so results do not
    depend on how many there are.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.layout = kernel, kernel.layout
        self.e = Emitter(kernel.scalar)
        self.offsets = self.layout.offsets()
        degrees = dict.fromkeys(self.layout.degrees(path) for path in self.layout.paths)
        self.entries = {key: pairs(*key) for key in degrees}
        every = [(key, pair.m1, pair.m3) for key in degrees for pair in self.entries[key]]
        self.place = {entry: i for i, entry in enumerate(every)}
        self.harmonics = (self.layout.lmax + 1) ** 2
        self.arg: dict[str, str] = {}

    @abstractmethod
    def edges(self, row: str, count: str, fresh: str) -> None:
        """Write the work on a tile's `count` edges; `fresh`: the first tile of its row."""

    def begin_row(self, row: str) -> None:  # noqa: B027 a hook, empty by default
        """Write what precedes the tiles of a row."""

    def write(self) -> None:
        """Write the body of the function."""
        e, kernel = self.e, self.kernel
        for i, name in enumerate(kernel.arguments):
            self.arg[name] = e.load("%args", i, kind="ptr")
        self.factors = self.scratch(2 * len(kernel.spline.places) * TILE, kernel.scalar)
        # Of the harmonics and, perhaps, of how they change.
        names = ("y", "ty") if kernel.tangent else ("y",)
        size = max(len(self.place), 1) * TILE
        self.couplings = {name: self.scratch(size, kernel.scalar) for name in names}
        size = self.harmonics * TILE
        self.transposed = {name: self.scratch(size, kernel.scalar) for name in names}
        self.ids = self.scratch(3 * TILE, "i64")  # edge, other atom, first weight
        e.loop(("%begin", "%end", 1), self._row)
        e.do("ret void")

    def scratch(self, size: int, kind: str) -> str:
        """Reserve memory on the stack."""
        return self.e.op(f"alloca {kind}, i64 {size}, align 64")

    def _row(self, row: str, _: Carried) -> Carried:
        e = self.e
        first = e.load(self.arg["start"], row, kind="i64")
        last = e.load(self.arg["start"], e.plus(row, 1), kind="i64")
        self.begin_row(row)
        # An atom without edges still goes round once, so that its output becomes zero.
        end = e.larger(e.plus(first, 1), last)

        def tile(edge: str, _: Carried) -> Carried:
            count = e.smaller(e.op(f"sub i64 {last}, {edge}"), TILE)
            e.loop((0, count, 1), lambda lane, _: self._identify(edge, lane))
            e.loop((0, count, 1), lambda lane, _: self._transpose(lane))
            self._couple()
            self.edges(row, count, e.op(f"icmp eq i64 {edge}, {first}"))
            return []

        e.loop((first, end, TILE), tile)
        return []

    def _identify(self, edge: str, lane: str) -> Carried:
        """Store the number, the other atom and the place of the weights of one edge."""
        e = self.e
        number = str(e.plus(edge, lane))
        if self.kernel.by_neighbor:
            number = e.load(self.arg["edge"], number, kind="i64")
        e.store(number, self.ids, lane, kind="i64")
        other = e.load(self.arg["other"], number, kind="i64")
        e.store(other, self.ids, e.plus(lane, TILE), kind="i64")
        if self.kernel.table:
            first = self.interpolate(number, lane)
        else:
            first = e.times(number, self.layout.weight_numel)
        e.store(first, self.ids, e.plus(lane, 2 * TILE), kind="i64")
        if not self.kernel.gradients and not self.kernel.table:
            self._prefetch(first)
        return []

    def _prefetch(self, first: str) -> None:
        numbers = self.layout.weight_numel
        if numbers * self.kernel.scalar_bytes < PREFETCH_BYTES:
            return
        self.e.used.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for offset in range(0, numbers, 64 // self.kernel.scalar_bytes):
            at = self.e.pointer(self.arg["w"], self.e.plus(first, offset))
            self.e.do(f"call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 2, i32 1)")

    def _transpose(self, lane: str) -> Carried:
        """Copy Y of one edge, so that equal components of the tile's edges are contiguous."""
        e = self.e
        base = e.times(e.load(self.ids, lane, kind="i64"), self.harmonics)
        for name, transposed in self.transposed.items():
            for m in range(self.harmonics):
                value = e.load(self.arg[name], e.plus(base, m))
                e.store(value, transposed, e.plus(lane, m * TILE))
        return []

    def _couple(self) -> None:
        """Store G[m1, m3] of every coupling and edge of the tile.

        Each triple of degrees has a loop of its own, be it of one step: the compiler's time grows
        with the square of what lies between two branches.
        """
        for name in self.couplings:
            for key in self.entries:
                body = partial(self._couple_degrees, name, key)
                self.e.loop((0, TILE, self._couple_width), body)

    @property
    def _couple_width(self) -> int:
        """Edges whose couplings fit one register."""
        return min(TILE, self.kernel.lanes)

    def _couple_degrees(self, name: str, key: Degrees, lane: str, _: Carried) -> Carried:
        e, width, l2 = self.e, self._couple_width, key[1]
        y = {
            m: e.load(self.transposed[name], e.plus(lane, m * TILE), width)
            for m in range(l2**2, (l2 + 1) ** 2)
        }
        for pair in self.entries[key]:
            total: str | None = None
            for m2, value in pair.terms:
                total = e.fma(y[m2], e.splat(e.number(value), width), total, width)
            at = e.plus(lane, self.place[key, pair.m1, pair.m3] * TILE)
            e.store(str(total), self.couplings[name], at, width)
        return []

    def coupling(self, path: Coupling, pair: Pair, lane: str, width: int, name: str = "y") -> str:
        """Return G[m1, m3] of one edge of the tile, or its change, the same in all channels."""
        i = self.place[self.layout.degrees(path), pair.m1, pair.m3]
        return self.e.splat(self.e.load(self.couplings[name], self.e.plus(lane, i * TILE)), width)

    def components(
        self, name: str, irrep: tuple[int, int], atom: str, channel: str | int, width: int
    ) -> list[str]:
        """Load all components of an atom's feature in a block of channels."""
        e, (degree, channels) = self.e, irrep
        base = e.plus(e.times(atom, (2 * degree + 1) * channels), channel)
        return [
            e.load(self.arg[name], e.plus(base, m * channels), width) for m in range(2 * degree + 1)
        ]

    def interpolate(self, edge: str, lane: str) -> str:
        """Store the factors of the spline and their slopes; return where the knot's rows begin."""
        e, wide, spline = self.e, self.e.doubles(), self.kernel.spline
        place = wide.load(self.arg["place"], edge)
        low, inverse, top = (wide.load(self.arg["grid"], i) for i in range(3))
        s = wide.mul(wide.op(f"fsub double {place}, {low}"), inverse, 1)
        # Never outside the table's memory, whatever the place (also not a number).
        floor = wide.call("floor", s)
        floor = wide.call("maxnum", wide.call("minnum", floor, top), wide.number(0.0))
        u = wide.op(f"fsub double {s}, {floor}")
        if spline.middle:
            u = wide.op(f"fsub double {u}, {wide.number(spline.middle)}")
        slopes = spline.slopes if "w" in self.kernel.gradients else ()
        for i, polynomial in enumerate(spline.factors + slopes):
            value = wide.number(polynomial[-1])
            for coefficient in polynomial[-2::-1]:
                value = wide.fma(u, value, wide.number(coefficient), 1)
            value = wide.mul(value, inverse, 1) if i >= len(spline.factors) else value
            if self.kernel.scalar == "float":
                value = wide.op(f"fptrunc double {value} to float")
            e.store(value, self.factors, e.plus(lane, i * TILE))
        numbers = spline.rows * self.layout.weight_numel
        return e.times(e.op(f"fptosi double {floor} to i64"), numbers)

    def weight(self, first: str, lane: str, offset: str | int, width: int) -> tuple[str, str]:
        """Return the weights of a block and, from a table, their derivative by the place in it."""
        e, spline = self.e, self.kernel.spline
        if not self.kernel.table:
            return e.load(self.arg["w"], e.plus(first, offset), width), ""
        value = e.load(self.arg["w"], e.plus(first, offset), width)
        slope: str | None = None
        for i, number in enumerate(spline.places):
            at = e.plus(e.plus(first, number * self.layout.weight_numel), offset)
            row = e.load(self.arg["w"], at, width)
            value = e.fma(row, self._factor(i, lane, width), value, width)
            if "w" in self.kernel.gradients:
                slope = e.fma(row, self._factor(len(spline.places) + i, lane, width), slope, width)
        return value, str(slope)

    def _factor(self, i: int, lane: str, width: int) -> str:
        return self.e.splat(self.e.load(self.factors, self.e.plus(lane, i * TILE)), width)
