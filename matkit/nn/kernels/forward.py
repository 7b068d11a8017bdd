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
    """Writes ``out_i = sum over edges of w ⊙ (x_j ⊗ Y)``, or how it changes."""

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
                read = 2 if self.kernel.tangent else 1
                room = self.kernel.registers - 4 - read * (2 * l1 + 1)
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
        irrep = self.layout.sources[source]
        names = ["x", "tx"] if "x" in self.kernel.tangent else ["x"]
        features = [
            self.components(f"{name}{source}", irrep, other, channel, width) for name in names
        ]
        begin = 0
        for i, path in group:
            at = e.plus(channel, self.offsets[i][0])
            factors = self._factors(features, (first, lane, at), width)
            for pair in pairs(*self.layout.degrees(path)):
                slot = begin + pair.m3
                for name, left in factors:
                    matrix = self.coupling(path, pair, lane, width, name)
                    sums[slot] = e.fma(left[pair.m1], matrix, sums[slot], width)
            begin += 2 * self.layout.degrees(path)[2] + 1
        return sums

    def _factors(
        self, features: list[list[str]], place: tuple[str, str, str | int], width: int
    ) -> list[tuple[str, list[str]]]:
        """Return what couplings are multiplied by: w x; of a change w x for Y', w' x + w x' for Y.

        Args:
            features: Components of x and, if it changes, of x'.
            place: First weight of the edge, lane of the edge, and weight of the path.
            width: Numbers at once.
        """
        e, (first, lane, at) = self.e, place
        x, *moved = features
        weight, _ = self.weight(first, lane, at, width)
        scaled = [e.mul(part, weight, width) for part in x]
        if not self.kernel.tangent:
            return [("y", scaled)]
        change = e.load(self.arg["tw"], e.plus(first, at), width)
        changes = [e.mul(part, change, width) for part in x]
        for parts in moved:
            both = zip(parts, changes, strict=True)
            changes = [e.fma(part, weight, total, width) for part, total in both]
        return [("ty", scaled), ("y", changes)]
