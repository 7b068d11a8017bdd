"""Generates the kernel that interpolates rows of a radial table, for use outside a convolution."""

from __future__ import annotations

from matkit.nn.kernels.emitter import Carried
from matkit.nn.kernels.kernel import Kernel, blocks, module_text
from matkit.nn.kernels.tile import TILE, TileWriter


class LookupWriter(TileWriter):
    """Writes value and slope of every row; arguments: table, place, grid, value, slope."""

    def write(self) -> None:
        """Write the body of the function; rows are edges."""
        e = self.e
        for i, name in enumerate(("w", "place", "grid", "value", "slope")):
            self.arg[name] = e.load("%args", i, kind="ptr")
        self.spline = self.scratch(8 * TILE, self.kernel.scalar)
        e.loop(("%begin", "%end", 1), lambda edge, _: self._row_of(edge))
        e.do("ret void")

    def edges(self, row: str, count: str, fresh: str) -> None:
        """Do nothing: there are no tiles."""

    def _row_of(self, edge: str) -> Carried:
        e, numbers = self.e, self.layout.weight_numel
        first, base = self.interpolate(edge, "0"), e.times(edge, numbers)

        for bounds in blocks(numbers, self.kernel.lanes):

            def block(offset: str, _: Carried, width: int = bounds[2]) -> Carried:
                value, slope = self.weight(first, "0", offset, width)
                e.store(value, self.arg["value"], e.plus(base, offset), width)
                e.store(slope, self.arg["slope"], e.plus(base, offset), width)
                return []

            e.loop(bounds, block)
        return []


def generate_lookup(kernel: Kernel) -> str:
    """Return the assembly of a module with the function ``entry``."""
    writer = LookupWriter(kernel)
    writer.write()
    return module_text(writer.e.used, writer.e.lines, kernel.vector_bytes)
