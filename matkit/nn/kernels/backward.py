"""Generates the kernels of the derivatives of <g, conv(x, Y, w)>, any of them in one pass.

Rows are neighbours where the derivative by x is wanted, so that it has one writer; else centres.
Edge by edge and path by path: with D[m1, m3] = sum over channels of w x[m1] g[m3] and
t[m1] = sum over m3 of G[m1, m3] g[m3], the derivatives are 3j · D by Y, w t by x and x · t by w.

With a tangent they are those of <h, conv> + <g, change of conv> by x and w: with dashes for changes
and s[m1] = sum over m3 of G h + G' g, they are w s + w' t and x · s + x' · t.
"""

from __future__ import annotations

from matkit.nn.kernels.emitter import Carried
from matkit.nn.kernels.kernel import blocks
from matkit.nn.kernels.paths import Coupling, pairs
from matkit.nn.kernels.tile import TILE, TileWriter

Block = tuple[str, int]  # first channel, number of channels
Factors = tuple[list[str], str, list[str]]  # of the derivatives: components of x, w, and t


class BackwardWriter(TileWriter):
    """Writes the derivatives a kernel is asked for."""

    def begin_row(self, row: str) -> None:
        """Set the derivative by x of a row to zero."""
        if not self.kernel.by_neighbor:
            return
        self.e.used.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        for k, (degree, channels) in enumerate(self.layout.sources):
            numbers = (2 * degree + 1) * channels
            at = self.e.pointer(self.arg[f"dx{k}"], self.e.times(row, numbers))
            size = numbers * self.kernel.scalar_bytes
            self.e.do(f"call void @llvm.memset.p0.i64(ptr {at}, i8 0, i64 {size}, i1 false)")

    def edges(self, row: str, count: str, fresh: str) -> None:
        """Write the loop over edges."""
        self.e.loop((0, count, 1), lambda lane, _: self._edge(row, lane))

    def _edge(self, row: str, lane: str) -> Carried:
        e, kernel = self.e, self.kernel
        self.edge = e.load(self.ids, lane, kind="i64")
        other = e.load(self.ids, e.plus(lane, TILE), kind="i64")
        self.first = e.load(self.ids, e.plus(lane, 2 * TILE), kind="i64")
        self.neighbor, self.center = (row, other) if kernel.by_neighbor else (other, row)
        self.lane = lane
        # Sums over channels, still vectors: by component and width, and by width.
        self.dy: dict[tuple[int, int], str] = {}
        self.dr: dict[int, str] = {}
        for i, path in enumerate(self.layout.paths):
            for bounds in blocks(path.channels, kernel.lanes):
                self._path(i, path, bounds)
        if "y" in kernel.gradients:
            self._store_dy()
        if kernel.table and "w" in kernel.gradients:
            e.store(self._total(self.dr), self.arg["dw"], self.edge)
        return []

    def _total(self, parts: dict[int, str]) -> str:
        total = self.e.number(0.0)
        for width, vector in parts.items():
            total = self.e.add(total, self.e.sum(vector, width), 1)
        return total

    def _store_dy(self) -> None:
        base = self.e.times(self.edge, self.harmonics)
        for m in range(self.harmonics):
            parts = {width: value for (n, width), value in self.dy.items() if n == m}
            self.e.store(self._total(parts), self.arg["dy"], self.e.plus(base, m))

    def _path(self, i: int, path: Coupling, bounds: tuple[int, int, int]) -> None:
        """Write the loop over blocks of channels, then turn D into derivatives by Y."""
        e, width = self.e, bounds[2]
        kind, zero = e.type(width), e.zero(width)
        couplings = pairs(*self.layout.degrees(path)) if "y" in self.kernel.gradients else ()
        start = [(kind, zero)] * len(couplings)
        if self.kernel.table:
            start.append((kind, self.dr.get(width, zero)))
        done = e.loop(
            bounds,
            lambda channel, sums: self._block(i, path, (channel, width), sums),
            start,
        )
        if self.kernel.table:
            self.dr[width] = done.pop()
        for pair, total in zip(couplings, done, strict=True):
            for m2, value in pair.terms:
                coefficient = e.splat(e.number(value), width)
                self.dy[m2, width] = e.fma(total, coefficient, self.dy.get((m2, width)), width)

    def _block(self, i: int, path: Coupling, block: Block, sums: Carried) -> Carried:
        e, (channel, width), wanted = self.e, block, self.kernel.gradients
        source, target = self.layout.sources[path.source], self.layout.targets[path.target]
        weight_at, channel_at = self.offsets[i]
        begin = e.plus(channel, channel_at)
        g = self.components(f"g{path.target}", target, self.center, begin, width)
        x = self.components(f"x{path.source}", source, self.neighbor, channel, width)
        weight, slope = self.weight(self.first, self.lane, e.plus(channel, weight_at), width)
        if "y" in wanted:
            scaled = [e.mul(part, weight, width) for part in x]
            for k, pair in enumerate(pairs(*self.layout.degrees(path))):
                sums[k] = e.fma(scaled[pair.m1], g[pair.m3], sums[k], width)
        if "x" in wanted or "w" in wanted:
            factors = self._factors(i, path, (begin, channel), (x, g), (weight, width))
        if "w" in wanted:
            dw: str | None = None
            for parts, _, back in factors:
                for part, value in zip(parts, back, strict=bool(parts)):
                    dw = e.fma(part, value, dw, width)
            if self.kernel.table:
                sums[-1] = e.fma(str(dw), slope, sums[-1], width)
            else:
                at = e.plus(e.plus(self.first, channel), weight_at)
                e.store(str(dw), self.arg["dw"], at, width)
        if "x" in wanted:
            self._add_dx(path.source, factors, block)
        return sums

    def _factors(
        self,
        i: int,
        path: Coupling,
        places: tuple[str | int, str],
        features: tuple[list[str], list[str]],
        scale: tuple[str, int],
    ) -> list[Factors]:
        """Return x, w and t; of a tangent x, w and s, then x' (if it changes), w' and t.

        Args:
            i: Number of the path.
            path: The path.
            places: First channel of the block in the target and in the source.
            features: x and g.
            scale: w, and the number of channels.
        """
        e, (begin, channel), (x, g), (weight, width) = self.e, places, features, scale
        back = self._back(path, [(g, "y")], width)
        if not self.kernel.tangent:
            return [(x, weight, back)]
        target, source = self.layout.targets[path.target], self.layout.sources[path.source]
        h = self.components(f"h{path.target}", target, self.center, begin, width)
        both = self._back(path, [(g, "ty"), (h, "y")], width)
        at = e.plus(e.plus(self.first, channel), self.offsets[i][0])
        moved: list[str] = []
        if "x" in self.kernel.tangent:
            moved = self.components(f"tx{path.source}", source, self.neighbor, channel, width)
        change = e.load(self.arg["tw"], at, width)
        return [(x, weight, both), (moved, change, back)]

    def _back(self, path: Coupling, given: list[tuple[list[str], str]], width: int) -> list[str]:
        """Return the sum over m3 of G[m1, m3] g[m3], for pairs of g and the name of Y in G."""
        back: dict[int, str] = {}
        for pair in pairs(*self.layout.degrees(path)):
            for g, name in given:
                matrix = self.coupling(path, pair, self.lane, width, name)
                back[pair.m1] = self.e.fma(g[pair.m3], matrix, back.get(pair.m1), width)
        return [back[m1] for m1 in sorted(back)]

    def _add_dx(self, source: int, factors: list[Factors], block: Block) -> None:
        e, (degree, channels), (channel, width) = self.e, self.layout.sources[source], block
        base = e.plus(e.times(self.neighbor, (2 * degree + 1) * channels), channel)
        for m in range(2 * degree + 1):
            at = e.plus(base, m * channels)
            total = e.load(self.arg[f"dx{source}"], at, width)
            for _, weight, back in factors:
                total = e.fma(back[m], weight, total, width)
            e.store(total, self.arg[f"dx{source}"], at, width)
