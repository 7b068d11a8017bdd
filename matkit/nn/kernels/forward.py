"""Generates the kernel of the product itself.

Rows are centres. For each source irrep and block of channels, the outputs of the block stay in
registers while the edges of a tile are added.
"""

from __future__ import annotations

from matkit.nn.kernels.emitter import Carried
from matkit.nn.kernels.kernel import blocks
from matkit.nn.kernels.paths import Coupling, pairs
from matkit.nn.kernels.tile import TILE, TileWriter

PathGroup = list[tuple[int, Coupling]]


class ForwardWriter(TileWriter):
    """Writes ``out_i = sum over edges of w ⊙ (x_j ⊗ Y)``."""

    def edges(self, row: str, count: str, fresh: str) -> None:
        """Write the loops over groups of paths, blocks of channels, and edges."""
        for group in self._groups():
            for first, end, width in blocks(group[0][1].channels, self.kernel.lanes):

                def block(
                    channel: str, _: Carried, group: PathGroup = group, width: int = width
                ) -> Carried:
                    self._block(group, (row, count, fresh), channel, width)
                    return []

                self.e.loop((first, end, width), block)

    def _groups(self) -> list[PathGroup]:
        """PathGroup with a common source whose outputs fit into the registers together."""
        groups: list[PathGroup] = []
        room = 0
        for i, path in sorted(enumerate(self.layout.paths), key=lambda item: item[1].source):
            l1, _, l3 = self.layout.degrees(path)
            if not groups or groups[-1][0][1].source != path.source or room < 2 * l3 + 1:
                groups.append([])
                room = self.kernel.registers - 4 - (2 * l1 + 1)
            groups[-1].append((i, path))
            room -= 2 * l3 + 1
        return groups

    def _block(
        self, group: PathGroup, tile: tuple[str, str, str], channel: str, width: int
    ) -> None:
        e, (row, count, fresh) = self.e, tile
        kind = e.type(width)
        slots = [slot for item in group for slot in self._slots(item, row, channel)]
        start = []
        for name, index in slots:
            old = e.load(name, index, width)
            # What lies in the output before the first tile is not a number to build on.
            start.append((kind, e.op(f"select i1 {fresh}, {kind} {e.zero(width)}, {kind} {old}")))
        done = e.loop(
            (0, count, 1),
            lambda lane, sums: self._edge(group, lane, channel, sums, width),
            start,
        )
        for (name, index), value in zip(slots, done, strict=True):
            e.store(value, name, index, width)

    def _slots(self, item: tuple[int, Coupling], row: str, channel: str) -> list[tuple[str, str]]:
        """Where the components of a path's output lie."""
        i, path = item
        degree, channels = self.layout.targets[path.target]
        base = self.e.plus(self.e.times(row, (2 * degree + 1) * channels), channel)
        return [
            (self.arg[f"g{path.target}"], str(self.e.plus(base, m * channels + self.offsets[i][1])))
            for m in range(2 * degree + 1)
        ]

    def _edge(
        self, group: PathGroup, lane: str, channel: str, sums: Carried, width: int
    ) -> Carried:
        e = self.e
        source = group[0][1].source
        other = e.load(self.ids, e.plus(lane, TILE), kind="i64")
        first = e.load(self.ids, e.plus(lane, 2 * TILE), kind="i64")
        x = self.components(f"x{source}", self.layout.sources[source], other, channel, width)
        begin = 0
        for i, path in group:
            weight, _ = self.weight(first, lane, e.plus(channel, self.offsets[i][0]), width)
            scaled = [e.mul(part, weight, width) for part in x]
            for pair in pairs(*self.layout.degrees(path)):
                matrix, slot = self.coupling(path, pair, lane, width), begin + pair.m3
                sums[slot] = e.fma(scaled[pair.m1], matrix, sums[slot], width)
            begin += 2 * self.layout.degrees(path)[2] + 1
        return sums
