"""Compiled quotients of atoms' features and one plus a density, and their derivative.

With s the density and n = 1 + s the values are y = x / n. Given g, the derivative by x is g / n and
that by s the sum over all numbers of an atom of -g y / n.
"""

from __future__ import annotations

from functools import cache

from matkit.nn.kernels import compiler
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import blocks, module_text


@cache
def quotient_entry(scalar: str, sizes: tuple[int, ...], reverse: bool) -> int:
    """Return the address of a kernel whose rows are atoms.

    Its arguments are pointers: of the density; of every irrep's features and values; or of every
    irrep's values, of the derivatives by them, of those by the features, and of that by the
    density.

    Args:
        scalar: ``float`` or ``double``.
        sizes: Numbers that an atom has in every irrep.
        reverse: Whether to write the derivative.
    """
    key = f"quotient {scalar} {sizes} {reverse} {compiler.vector_unit()}"
    return compiler.load(key, _QuotientWriter(scalar, sizes, reverse).text)


class _QuotientWriter:
    """Writes the kernel."""

    def __init__(self, scalar: str, sizes: tuple[int, ...], reverse: bool) -> None:
        self.e, self.sizes, self.reverse = Emitter(scalar), sizes, reverse
        self.bytes, _ = compiler.vector_unit()
        self.lanes = self.bytes // (4 if scalar == "float" else 8)

    def text(self) -> str:
        """Return the module."""
        e, count = self.e, len(self.sizes)
        self.density = e.load("%args", 0, kind="ptr")
        arrays = 3 if self.reverse else 2
        pointers = [e.load("%args", 1 + i, kind="ptr") for i in range(count * arrays)]
        self.arrays = [pointers[i : i + count] for i in range(0, len(pointers), count)]
        if self.reverse:
            self.by_density = e.load("%args", 1 + len(pointers), kind="ptr")
        e.loop(("%begin", "%end", 1), self._atom)
        e.do("ret void")
        return module_text(e.used, e.lines, self.bytes)

    def _atom(self, atom: str, _: Carried) -> Carried:
        e, one = self.e, self.e.number(1.0)
        norm = e.add(e.load(self.density, atom), one, 1)
        factor = e.op(f"fdiv {e.scalar} {one}, {norm}")
        total = e.number(0.0)
        for k, size in enumerate(self.sizes):
            base = e.times(atom, size)
            for first, end, width in blocks(size, self.lanes):
                total = e.add(total, self._block(k, base, (first, end, width), factor), 1)
        if self.reverse:
            minus = e.op(f"fneg {e.scalar} {factor}")
            e.store(e.mul(total, minus, 1), self.by_density, atom)
        return []

    def _block(self, k: int, base: str, block: tuple[int, int, int], factor: str) -> str:
        """Write some numbers of irrep k; return the sum of those times their derivatives."""
        e, (first, end, width) = self.e, block

        def body(number: str, sums: Carried) -> Carried:
            at = str(e.plus(base, number))
            given = e.load(self.arrays[-2][k], at, width)
            e.store(e.mul(given, e.splat(factor, width), width), self.arrays[-1][k], at, width)
            if not self.reverse:
                return sums
            return [e.fma(given, e.load(self.arrays[0][k], at, width), sums[0], width)]

        (found,) = e.loop((first, end, width), body, [(e.type(width), e.zero(width))])
        return e.sum(found, width)
