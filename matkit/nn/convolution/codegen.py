"""Generates the kernels of the convolution as LLVM assembly, one layout at a time.

A kernel goes over rows (atoms) and the edges of each row, 16 edges at a time:

1. For 16 edges at once, Y becomes the matrices G[m1, m3] of all couplings, non-zero entries only.
2. Forward, for each source irrep and block of channels: the outputs of that block stay in
   registers while the 16 edges are added. Backward, for each edge and path: the block loop keeps
   the sums over channels in registers.

Rows are centres, or neighbours where grad x is wanted: then grad x has one writer as well. No
number is ever written by two threads, so results do not depend on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from matkit.nn.convolution.emitter import Carried, Emitter
from matkit.nn.convolution.paths import Layout, Pair, Path, pairs

TILE = 16  # edges whose couplings are prepared at once


@dataclass(frozen=True)
class Kernel:
    """What to generate.

    Attributes:
        layout: Irreps and paths.
        scalar: ``float`` or ``double``.
        gradients: Which of "x", "y", "w" to differentiate; none for the forward product.
        table: Weights are interpolated from a table instead of read, and "w" stands for the
            derivative with respect to the length of each edge.
        vector_bytes: Size of the machine's vectors.
        registers: Number of the machine's vector registers.
    """

    layout: Layout
    scalar: str
    gradients: str = ""
    table: bool = False
    vector_bytes: int = 64
    registers: int = 32

    @property
    def by_neighbor(self) -> bool:
        """Whether rows are neighbours."""
        return "x" in self.gradients

    @property
    def arguments(self) -> list[str]:
        """Names of the pointers the kernel takes, in order."""
        layout = self.layout
        names = ["start", "edge", "other", "y", "w", "length", "grid"]
        names += [f"x{k}" for k in range(len(layout.sources))]
        names += [f"g{k}" for k in range(len(layout.targets))]
        names += [f"dx{k}" for k in range(len(layout.sources))] if self.by_neighbor else []
        return names + ["dy"] * ("y" in self.gradients) + ["dw"] * ("w" in self.gradients)


def generate(kernel: Kernel) -> str:
    """Return the LLVM assembly of a module with the functions ``rows`` and ``entry``."""
    writer = _Writer(kernel)
    writer.write()
    head = 'define internal void @rows(i64 %begin, i64 %end, ptr %args) #0 {\nentry:'
    attributes = (
        f'attributes #0 = {{ nounwind "min-legal-vector-width"="{8 * kernel.vector_bytes}" '
        f'"prefer-vector-width"="{8 * kernel.vector_bytes}" }}'
    )
    e = writer.e
    return "\n".join([*sorted(e.used), head, *e.lines, "}", _ENTRY, attributes, ""])


# Called by every thread of a team with job = [args, bounds, number of chunks, omp_get_thread_num,
# omp_get_num_threads]. Striding makes it right for a team smaller than the number of chunks.
_ENTRY = """
define void @entry(ptr %job) #0 {
entry:
  %args = load ptr, ptr %job
  %p1 = getelementptr ptr, ptr %job, i64 1
  %bounds = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %job, i64 2
  %chunks = load i64, ptr %p2
  %p3 = getelementptr ptr, ptr %job, i64 3
  %thread_num = load ptr, ptr %p3
  %p4 = getelementptr ptr, ptr %job, i64 4
  %num_threads = load ptr, ptr %p4
  %alone = icmp eq ptr %thread_num, null
  br i1 %alone, label %head, label %team
team:
  %tid = call i32 %thread_num()
  %size = call i32 %num_threads()
  %tid64 = sext i32 %tid to i64
  %size64 = sext i32 %size to i64
  br label %head
head:
  %chunk = phi i64 [0, %entry], [%tid64, %team], [%next, %work]
  %step = phi i64 [1, %entry], [%size64, %team], [%step, %work]
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %work, label %exit
work:
  %pb = getelementptr i64, ptr %bounds, i64 %chunk
  %pe = getelementptr i64, ptr %pb, i64 1
  %b = load i64, ptr %pb
  %e = load i64, ptr %pe
  call void @rows(i64 %b, i64 %e, ptr %args)
  %next = add i64 %chunk, %step
  br label %head
exit:
  ret void
}
"""


class _Writer:
    """Writes the body of ``rows``."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.layout = kernel, kernel.layout
        self.e = Emitter(kernel.scalar)
        size = 4 if kernel.scalar == "float" else 8
        self.lanes = kernel.vector_bytes // size
        self.offsets = self.layout.offsets()
        degrees = dict.fromkeys(self.layout.degrees(path) for path in self.layout.paths)
        entries = [(key, pair) for key in degrees for pair in pairs(*key)]
        self.place = {(key, pair.m1, pair.m3): i for i, (key, pair) in enumerate(entries)}
        self.entries: list[Pair] = [pair for _, pair in entries]
        self.arg: dict[str, str] = {}
        self.harmonics = (self.layout.lmax + 1) ** 2

    # -- common part ---------------------------------------------------------------------------

    def write(self) -> None:
        """Write the loop over rows and tiles of edges."""
        e, kernel = self.e, self.kernel
        for i, name in enumerate(kernel.arguments):
            self.arg[name] = e.load("%args", i, kind="ptr")
        self.coupling = self._scratch(max(len(self.entries), 1) * TILE, kernel.scalar)
        self.ids = self._scratch(3 * TILE, "i64")  # edge, other atom, first weight
        self.spline = self._scratch(8 * TILE, kernel.scalar)
        e.loop(("%begin", "%end", 1), self._row)
        e.do("ret void")

    def _scratch(self, size: int, kind: str) -> str:
        return self.e.op(f"alloca {kind}, i64 {size}, align 64")

    def _row(self, row: str, _: Carried) -> Carried:
        e = self.e
        first = e.load(self.arg["start"], row, kind="i64")
        last = e.load(self.arg["start"], e.plus(row, 1), kind="i64")
        if self.kernel.by_neighbor:
            self._clear(row)
        # An atom without edges still goes round once, so that its output becomes zero.
        least = e.plus(first, 1)
        test = e.op(f"icmp slt i64 {least}, {last}")
        end = e.op(f"select i1 {test}, i64 {last}, i64 {least}")

        def tile(edge: str, _: Carried) -> Carried:
            left = e.op(f"sub i64 {last}, {edge}")
            count = e.smaller(left, TILE)
            self._identify(edge, count)
            self._couple(count)
            if self.kernel.gradients:
                e.loop((0, count, 1), lambda lane, _: self._backward(row, lane))
            else:
                self._forward(row, count, e.op(f"icmp eq i64 {edge}, {first}"))
            return []

        e.loop((first, end, TILE), tile)
        return []

    def _identify(self, edge: str, count: str) -> None:
        """Store the number, the other atom and the weights' address of every edge of a tile."""
        e = self.e

        def one(lane: str, _: Carried) -> Carried:
            number: str | int = e.plus(edge, lane)
            if self.kernel.by_neighbor:
                number = e.load(self.arg["edge"], number, kind="i64")
            e.store(str(number), self.ids, lane, kind="i64")
            other = e.load(self.arg["other"], number, kind="i64")
            e.store(other, self.ids, e.plus(lane, TILE), kind="i64")
            if self.kernel.table:
                first = self._interpolate(str(number), lane)
            else:
                first = e.times(str(number), self.layout.weight_numel)
            e.store(first, self.ids, e.plus(lane, 2 * TILE), kind="i64")
            return []

        e.loop((0, count, 1), one)

    def _couple(self, count: str) -> None:
        """Store G[m1, m3] of every coupling and edge of the tile, edges along the vector."""
        e, kind = self.e, self.kernel.scalar
        bits = 32 if kind == "float" else 64
        harmonics = self._scratch_once("harmonics", self.harmonics * TILE)

        def gather(lane: str, _: Carried) -> Carried:
            base = e.times(e.load(self.ids, lane, kind="i64"), self.harmonics)
            for m in range(self.harmonics):
                value = e.load(self.arg["y"], e.plus(base, m))
                e.store(value, harmonics, e.plus(lane, m * TILE))
            return []

        e.loop((0, count, 1), gather)
        del bits
        y = [e.load(harmonics, m * TILE, TILE) for m in range(self.harmonics)]
        for i, pair in enumerate(self.entries):
            total: str | None = None
            for m2, value in pair.terms:
                total = e.fma(y[m2], e.splat(e.number(value), TILE), total, TILE)
            e.store(str(total), self.coupling, i * TILE, TILE)

    def _scratch_once(self, name: str, size: int) -> str:
        """Reserve memory at the top of the function, whatever the present position."""
        name = f"%{name}"
        line = f"  {name} = alloca {self.kernel.scalar}, i64 {size}, align 64"
        if line not in self.e.lines:
            self.e.lines.insert(0, line)
        return name

    def _matrix(self, path: Path, pair: Pair, lane: str, width: int) -> str:
        """Return G[m1, m3] of one edge of the tile in all channels."""
        i = self.place[self.layout.degrees(path), pair.m1, pair.m3]
        return self.e.splat(self.e.load(self.coupling, self.e.plus(lane, i * TILE)), width)

    def _blocks(self, channels: int) -> list[tuple[int, int, int]]:
        """Split channels into (first, end, width): whole vectors, then the remainder."""
        whole = channels - channels % self.lanes
        found = [(0, whole, self.lanes)] if whole else []
        return found + ([(whole, channels, channels - whole)] if whole < channels else [])

    # -- weights -------------------------------------------------------------------------------

    def _interpolate(self, edge: str, lane: str) -> str:
        """Store the four Hermite coefficients (and their slopes); return where the rows begin."""
        e = self.e
        e.used.add("declare double @llvm.floor.f64(double)")
        length = e.op(f"load double, ptr {e.pointer(self.arg['length'], edge, 'double')}")
        low, inverse, knots = (
            e.op(f"load double, ptr {e.pointer(self.arg['grid'], i, 'double')}") for i in range(3)
        )
        s = e.op(f"fmul double {e.op(f'fsub double {length}, {low}')}, {inverse}")
        floor = e.op(f"call double @llvm.floor.f64(double {s})")
        u = e.op(f"fsub double {s}, {floor}")
        wide = Emitter("double")
        wide.lines, wide.used, wide._count = e.lines, e.used, e._count
        for i, (c0, c1, c2, c3) in enumerate(_HERMITE):
            value = wide.fma(u, wide.number(c3), wide.number(c2), 1)
            value = wide.fma(u, value, wide.number(c1), 1)
            value = wide.fma(u, value, wide.number(c0), 1)
            if i >= 4:
                value = wide.mul(value, inverse, 1)
            if self.kernel.scalar == "float":
                value = wide.op(f"fptrunc double {value} to float")
            e._count = wide._count
            e.store(value, self.spline, e.plus(lane, i * TILE))
            wide._count = e._count
        del knots
        row = e.op(f"fptosi double {floor} to i64")
        return e.times(row, 2 * self.layout.weight_numel)

    def _weight(self, first: str, lane: str, offset: str | int, width: int) -> tuple[str, str]:
        """Return the weights of a block and, with a table, their derivative by the length."""
        e = self.e
        if not self.kernel.table:
            return e.load(self.arg["w"], e.plus(first, offset), width), ""
        value: str | None = None
        slope: str | None = None
        for i in range(4):
            at = e.plus(e.plus(first, i * self.layout.weight_numel), offset)
            row = e.load(self.arg["w"], at, width)
            value = e.fma(row, self._spline(i, lane, width), value, width)
            if "w" in self.kernel.gradients:
                slope = e.fma(row, self._spline(4 + i, lane, width), slope, width)
        return str(value), str(slope)

    def _spline(self, i: int, lane: str, width: int) -> str:
        return self.e.splat(self.e.load(self.spline, self.e.plus(lane, i * TILE)), width)

    # -- forward -------------------------------------------------------------------------------

    def _forward(self, row: str, count: str, fresh: str) -> None:
        for group in self._groups():
            for first, end, width in self._blocks(group[0][1].channels):

                def block(channel: str, _: Carried, group=group, width=width) -> Carried:
                    self._forward_block(group, (row, count, fresh), channel, width)
                    return []

                self.e.loop((first, end, width), block)

    def _groups(self) -> list[list[tuple[int, Path]]]:
        """Paths with a common source whose outputs fit into the registers together."""
        groups: list[list[tuple[int, Path]]] = []
        room = 0
        for i, path in sorted(enumerate(self.layout.paths), key=lambda item: item[1].source):
            l1, _, l3 = self.layout.degrees(path)
            if not groups or groups[-1][0][1].source != path.source or room < 2 * l3 + 1:
                groups.append([])
                room = self.kernel.registers - 4 - (2 * l1 + 1)
            groups[-1].append((i, path))
            room -= 2 * l3 + 1
        return groups

    def _forward_block(
        self, group: list[tuple[int, Path]], tile: tuple[str, str, str], channel: str, width: int
    ) -> None:
        e, (row, count, fresh) = self.e, tile
        slots = [
            (path.target, self._component(path.target, row, m3, (i, channel)))
            for i, path in group
            for m3 in range(self.layout.targets[path.target][0] * 2 + 1)
        ]
        kind = e.type(width)
        start = []
        for target, index in slots:
            old = e.load(self.arg[f"g{target}"], index, width)
            value = e.op(f"select i1 {fresh}, {kind} {e.zero(width)}, {kind} {old}")
            start.append((kind, value))
        done = e.loop(
            (0, count, 1),
            lambda lane, sums: self._forward_edge(group, lane, channel, sums, width),
            start,
        )
        for (target, index), value in zip(slots, done, strict=True):
            e.store(value, self.arg[f"g{target}"], index, width)

    def _component(self, target: int, row: str, m: int, place: tuple[int, str]) -> str:
        """Return the index of component m of an atom's output, at a path's channel."""
        degree, channels = self.layout.targets[target]
        i, channel = place
        base = self.e.times(row, (2 * degree + 1) * channels)
        shift = self.e.plus(channel, m * channels + self.offsets[i][1])
        return str(self.e.plus(base, shift))

    def _forward_edge(
        self, group: list[tuple[int, Path]], lane: str, channel: str, sums: Carried, width: int
    ) -> Carried:
        e, sums = self.e, list(sums)
        source = group[0][1].source
        other = e.load(self.ids, e.plus(lane, TILE), kind="i64")
        first = e.load(self.ids, e.plus(lane, 2 * TILE), kind="i64")
        x = self._rows(f"x{source}", self.layout.sources[source], other, channel, width)
        begin = 0
        for i, path in group:
            weight, _ = self._weight(first, lane, e.plus(channel, self.offsets[i][0]), width)
            scaled = [e.mul(part, weight, width) for part in x]
            for pair in pairs(*self.layout.degrees(path)):
                matrix, slot = self._matrix(path, pair, lane, width), begin + pair.m3
                sums[slot] = e.fma(scaled[pair.m1], matrix, sums[slot], width)
            begin += 2 * self.layout.degrees(path)[2] + 1
        return sums

    def _rows(
        self, name: str, irrep: tuple[int, int], atom: str, channel: str | int, width: int
    ) -> list[str]:
        """Load all components of an atom's feature in a block of channels."""
        e, (degree, channels) = self.e, irrep
        base = e.plus(e.times(atom, (2 * degree + 1) * channels), channel)
        return [
            e.load(self.arg[name], e.plus(base, m * channels), width) for m in range(2 * degree + 1)
        ]

    # -- backward ------------------------------------------------------------------------------

    def _clear(self, row: str) -> None:
        """Set grad x of a row to zero."""
        size = 4 if self.kernel.scalar == "float" else 8
        self.e.used.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        for k, (degree, channels) in enumerate(self.layout.sources):
            numbers = (2 * degree + 1) * channels
            at = self.e.pointer(self.arg[f"dx{k}"], self.e.times(row, numbers))
            self.e.do(
                f"call void @llvm.memset.p0.i64(ptr {at}, i8 0, i64 {numbers * size}, i1 false)"
            )

    def _backward(self, row: str, lane: str) -> Carried:
        e = self.e
        edge = e.load(self.ids, lane, kind="i64")
        other = e.load(self.ids, e.plus(lane, TILE), kind="i64")
        self.edge, self.first = edge, e.load(self.ids, e.plus(lane, 2 * TILE), kind="i64")
        self.atoms = (row, other) if self.kernel.by_neighbor else (other, row)
        self.dy: dict[tuple[int, int], str] = {}  # by m and width
        self.dr: dict[int, str] = {}  # by width
        for i, path in enumerate(self.layout.paths):
            for bounds in self._blocks(path.channels):
                self._backward_path(i, path, lane, bounds)
        if "y" in self.kernel.gradients:
            self._store_dy()
        if self.kernel.table and "w" in self.kernel.gradients:
            e.store(self._total(self.dr), self.arg["dw"], edge)
        return []

    def _total(self, parts: dict[int, str]) -> str:
        total = None
        for width, vector in parts.items():
            value = self.e.sum(vector, width)
            total = value if total is None else self.e.add(total, value, 1)
        return total or self.e.number(0.0)

    def _store_dy(self) -> None:
        e = self.e
        base = e.times(self.edge, self.harmonics)
        for m in range(self.harmonics):
            parts = {width: value for (n, width), value in self.dy.items() if n == m}
            e.store(self._total(parts), self.arg["dy"], e.plus(base, m))

    def _backward_path(self, i: int, path: Path, lane: str, bounds: tuple[int, int, int]) -> None:
        e, width = self.e, bounds[2]
        kind = e.type(width)
        couplings = pairs(*self.layout.degrees(path))
        outer = len(couplings) if "y" in self.kernel.gradients else 0
        start = [(kind, e.zero(width))] * outer
        radial = self.kernel.table and "w" in self.kernel.gradients
        if radial:
            start = [*start, (kind, self.dr.get(width, e.zero(width)))]
        done = e.loop(
            bounds,
            lambda channel, sums: self._backward_block((i, path), lane, channel, sums, width),
            start,
        )
        for pair, product in zip(couplings, done[:outer], strict=False):
            for m2, value in pair.terms:
                coefficient = e.splat(e.number(value), width)
                self.dy[m2, width] = e.fma(product, coefficient, self.dy.get((m2, width)), width)
        if radial:
            self.dr[width] = done[-1]

    def _backward_block(
        self, which: tuple[int, Path], lane: str, channel: str, sums: Carried, width: int
    ) -> Carried:
        e, (i, path), wanted = self.e, which, self.kernel.gradients
        source, target = self.layout.sources[path.source], self.layout.targets[path.target]
        weight_at, channel_at = self.offsets[i]
        couplings = pairs(*self.layout.degrees(path))
        g = self._rows(
            f"g{path.target}", target, self.atoms[1], e.plus(channel, channel_at), width
        )
        x = self._rows(f"x{path.source}", source, self.atoms[0], channel, width)
        weight, slope = "", ""
        if "x" in wanted or "y" in wanted or self.kernel.table:
            weight, slope = self._weight(self.first, lane, e.plus(channel, weight_at), width)
        sums = list(sums)
        if "y" in wanted:
            scaled = [e.mul(part, weight, width) for part in x]
            for k, pair in enumerate(couplings):
                sums[k] = e.fma(scaled[pair.m1], g[pair.m3], sums[k], width)
        if "x" in wanted or "w" in wanted:
            back: list[str | None] = [None] * len(x)
            for pair in couplings:
                matrix = self._matrix(path, pair, lane, width)
                back[pair.m1] = e.fma(g[pair.m3], matrix, back[pair.m1], width)
            if "w" in wanted:
                dw: str | None = None
                for part, value in zip(x, back, strict=True):
                    dw = e.fma(part, str(value), dw, width)
                if self.kernel.table:
                    sums[-1] = e.fma(str(dw), slope, sums[-1], width)
                else:
                    at = e.plus(e.plus(self.first, channel), weight_at)
                    e.store(str(dw), self.arg["dw"], at, width)
            if "x" in wanted:
                self._add_dx(path.source, [str(b) for b in back], weight, channel, width)
        return sums

    def _add_dx(
        self, source: int, back: list[str], weight: str, channel: str, width: int
    ) -> None:
        e, (degree, channels) = self.e, self.layout.sources[source]
        base = e.plus(e.times(self.atoms[0], (2 * degree + 1) * channels), channel)
        for m, value in enumerate(back):
            at = e.plus(base, m * channels)
            old = e.load(self.arg[f"dx{source}"], at, width)
            e.store(e.fma(value, weight, old, width), self.arg[f"dx{source}"], at, width)


# Cubic Hermite basis in powers of u: values of (left, left slope, right, right slope), then their
# derivatives.
_HERMITE = (
    (1, 0, -3, 2),
    (0, 1, -2, 1),
    (0, 0, 3, -2),
    (0, 0, -1, 1),
    (0, -6, 6, 0),
    (1, -4, 3, 0),
    (0, 6, -6, 0),
    (0, -2, 3, 0),
)
