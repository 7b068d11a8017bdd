"""Compiled products of a few rows with a matrix, where a library spends its time on preparing."""

from __future__ import annotations

from functools import cache, partial

from matkit.nn.kernels import compiler
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import module_text


@cache
def product_entry(scalar: str, add: bool) -> int:
    """Return the address of the kernel of ``out = x @ matrix``, or of ``out +=``.

    Its arguments are the pointers of x [rows, inner], the matrix [inner, outer] and the result
    [rows, outer], then the numbers inner and outer.

    Args:
        scalar: ``float`` or ``double``.
        add: Whether to add to what the result holds.
    """
    return compiler.load(
        f"product {scalar} {add} {compiler.vector_unit()}", _ProductWriter(scalar, add).text
    )


class _ProductWriter:
    """Writes the kernel: some rows and vectors of the result at a time stay in registers."""

    def __init__(self, scalar: str, add: bool) -> None:
        self.e, self.add = Emitter(scalar), add
        self.bytes, registers = compiler.vector_unit()
        self.lanes = self.bytes // (4 if scalar == "float" else 8)
        # Beside the sums, registers hold as many vectors of the matrix, and one number.
        self.rows, self.vectors = (6, 4) if registers >= 32 else (4, 2)

    def text(self) -> str:
        """Return the module."""
        e = self.e
        self.x, self.matrix, self.out = (e.load("%args", i, kind="ptr") for i in range(3))
        self.inner, self.outer = (e.load("%args", i, kind="i64") for i in (3, 4))
        e.loop(("%begin", "%end", self.rows), self._rows)
        e.do("ret void")
        return module_text(e.used, e.lines, self.bytes)

    def _rows(self, first: str, _: Carried) -> Carried:
        e, done = self.e, "0"
        last = e.op("sub i64 %end, 1")
        # Beyond the last row the last one is computed again, which harms nobody.
        rows = [e.smaller(str(e.plus(first, r)), last) for r in range(self.rows)]
        for vectors, width in ((self.vectors, self.lanes), (1, self.lanes), (1, 1)):
            rest = e.op(f"urem i64 {self.outer}, {vectors * width}")
            whole = e.op(f"sub i64 {self.outer}, {rest}")
            write = partial(self._block, rows, (vectors, width))
            e.loop((done, whole, vectors * width), write)
            done = whole
        return []

    def _block(self, rows: list[str], shape: tuple[int, int], column: str, _: Carried) -> Carried:
        """Write the sums of some rows and neighbouring vectors, so many of that width."""
        e, (vectors, width) = self.e, shape
        columns = [e.plus(column, c * width) for c in range(vectors)]
        begins = [e.times(row, self.inner) for row in rows]
        places = [e.plus(e.times(row, self.outer), column) for row in rows for column in columns]
        old = [e.load(self.out, at, width) if self.add else e.zero(width) for at in places]

        def term(k: str, sums: Carried) -> Carried:
            base = e.times(k, self.outer)
            line = [e.load(self.matrix, e.plus(base, column), width) for column in columns]
            numbers = [e.splat(e.load(self.x, e.plus(at, k)), width) for at in begins]
            pairs = ((number, vector) for number in numbers for vector in line)
            return [e.fma(a, b, total, width) for (a, b), total in zip(pairs, sums, strict=True)]

        found = e.loop((0, self.inner, 1), term, [(e.type(width), value) for value in old])
        for at, value in zip(places, found, strict=True):
            e.store(value, self.out, at, width)
        return []
