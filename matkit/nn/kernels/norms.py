"""Compiled norms of single atoms and their derivatives, see `matkit.nn.mixing.EquivariantNorm`.

With z the features, scalars centred, n their number, w the weights and r = 1 / sqrt(offset + z²/n)
the value is y = r w z. Its reverse derivative, given g and u = w g, is b = r u - r³ (u·z / n) z,
and that of h·b, with P = h·u, H = h·z and A = u·z / n,

    by u:  r h - r³ H z / n
    by z:  (3 r⁵ A H - r³ P) z / n - r³ (A h + H u / n)

Scalars have a norm of their own; all other irreps share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from matkit.nn.kernels import compiler
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import blocks, module_text

Irreps = tuple[tuple[int, int], ...]  # degree and channels of each
# Arrays of the features' shape that a kernel of some order reads and writes.
READ, WRITTEN = (1, 2, 3), (1, 1, 2)


@cache
def norm_entry(scalar: str, irreps: Irreps, offset: float, order: int) -> int:
    """Return the address of a kernel whose rows are atoms.

    Its arguments are pointers, of every irrep each: of the features, backwards also of the
    derivative by the values, for the second derivative also of that by the first derivative; of
    the weights; and of the results. These are the values; the derivative by the features; or the
    derivatives by features and first derivative. Derivatives are followed by that by the
    weights, atom by atom [N, 1, channels].

    Args:
        scalar: ``float`` or ``double``.
        irreps: Of the features, scalars first.
        offset: Of the mean squares.
        order: 0 for the values, 1 and 2 for derivatives.
    """
    key = f"norm {scalar} {irreps} {offset} {order} {compiler.vector_unit()}"
    return compiler.load(key, _NormWriter(scalar, irreps, offset, order).text)


class _NormWriter:
    """Writes a kernel."""

    def __init__(self, scalar: str, irreps: Irreps, offset: float, order: int) -> None:
        self.e, self.irreps, self.offset, self.order = Emitter(scalar), irreps, offset, order
        self.bytes, _ = compiler.vector_unit()
        self.lanes = self.bytes // (4 if scalar == "float" else 8)

    def text(self) -> str:
        """Return the module."""
        e, count = self.e, len(self.irreps)
        arrays = READ[self.order] + 1 + WRITTEN[self.order] + (self.order > 0)
        pointers = [e.load("%args", i, kind="ptr") for i in range(count * arrays)]
        self.arrays = [pointers[i : i + count] for i in range(0, len(pointers), count)]
        self.weights = self.arrays[READ[self.order]]
        self.results = self.arrays[READ[self.order] + 1 :]
        e.loop(("%begin", "%end", 1), self._atom)
        e.do("ret void")
        return module_text(e.used, e.lines, self.bytes)

    def _atom(self, atom: str, _: Carried) -> Carried:
        self.atom = atom
        self._group([0])
        if len(self.irreps) > 1:
            self._group(list(range(1, len(self.irreps))))
        return []

    def _group(self, members: list[int]) -> None:
        """Write the norm of some irreps together."""
        e, order = self.e, self.order
        n = sum(
            (2 * degree + 1) * channels
            for degree, channels in map(self.irreps.__getitem__, members)
        )
        self.inverse, self.means = e.number(1 / n), [e.number(0.0)] * 3
        centered = members == [0]
        if centered:
            # Of the features, of w g, and of h.
            sums = self._sums(members, lambda z, u, h: [z, u, h][: order + 1])
            self.means = [e.mul(total, self.inverse, 1) for total in sums]
        mean_u = self.means[1] if centered and order else e.number(0.0)
        self.means = [self.means[0], e.number(0.0), *self.means[2:]]

        def products(z: str, u: str, h: str) -> list[tuple[str, str]]:
            return [(z, z), (u, z), (h, u), (h, z)][: (1, 2, 4)[order]]

        square, *rest = self._sums(members, products)
        mean = e.fma(square, self.inverse, e.number(self.offset), 1)
        r = e.op(f"fdiv {e.scalar} {e.number(1.0)}, {e.call('sqrt', mean)}")
        cube = e.mul(e.mul(r, r, 1), r, 1)
        self.factors = [r, cube, mean_u, *rest]
        for k in members:
            self._write(k)

    def _sums(
        self, members: list[int], terms: Callable[[str, str, str], Sequence[str | tuple[str, str]]]
    ) -> list[str]:
        """Return sums over numbers of some irreps of what `terms` makes of z, w g and h."""
        e = self.e
        count = len(terms("", "", ""))
        totals = [e.number(0.0)] * count
        for k in members:
            for first, end, width in blocks(self.irreps[k][1], self.lanes):

                def body(channel: str, sums: Carried, k: int = k, width: int = width) -> Carried:
                    for z, u, h, _ in self._numbers(k, channel, width):
                        for i, term in enumerate(terms(z, u, h)):
                            if isinstance(term, str):
                                sums[i] = e.add(sums[i], term, width)
                            else:
                                sums[i] = e.fma(*term, sums[i], width)
                    return sums

                start = [(e.type(width), e.zero(width))] * count
                found = e.loop((first, end, width), body, start)
                parts = zip(totals, found, strict=True)
                totals = [e.add(total, e.sum(part, width), 1) for total, part in parts]
        return totals

    def _numbers(self, k: int, channel: str, width: int) -> list[tuple[str, str, str, str]]:
        """Return z, w g, h and the place of every component in a block of channels."""
        e, (degree, channels) = self.e, self.irreps[k]
        base = e.plus(e.times(self.atom, (2 * degree + 1) * channels), channel)
        weight = e.load(self.weights[k], channel, width) if self.order else ""
        found = []
        for m in range(2 * degree + 1):
            at = str(e.plus(base, m * channels))
            z = self._centered(e.load(self.arrays[0][k], at, width), 0, k, width)
            u = e.mul(e.load(self.arrays[1][k], at, width), weight, width) if self.order else ""
            h = ""
            if self.order > 1:
                h = self._centered(e.load(self.arrays[2][k], at, width), 2, k, width)
            found.append((z, u, h, at))
        return found

    def _centered(self, value: str, which: int, k: int, width: int) -> str:
        if k or which >= len(self.means):
            return value
        mean = self.e.splat(self.means[which], width)
        return self.e.op(f"fsub {self.e.type(width)} {value}, {mean}")

    def _write(self, k: int) -> None:
        """Write the results of one irrep."""
        e, write = self.e, (self._values, self._first, self._second)[self.order]
        for first, end, width in blocks(self.irreps[k][1], self.lanes):

            def body(channel: str, _: Carried, width: int = width) -> Carried:
                write(k, channel, width)
                return []

            e.loop((first, end, width), body)

    def _values(self, k: int, channel: str, width: int) -> None:
        e = self.e
        factor = e.splat(self.factors[0], width)
        factor = e.mul(e.load(self.weights[k], channel, width), factor, width)
        for z, _, _, at in self._numbers(k, channel, width):
            e.store(e.mul(z, factor, width), self.results[0][k], at, width)

    def _first(self, k: int, channel: str, width: int) -> None:
        e = self.e
        r, cube, mean_u, along = self.factors
        # b = r u - r³ A z, less its mean where features are centred.
        slope = self._splat([cube, self.inverse, along, "-"], width)
        shift = self._splat([r, mean_u, "-"], width) if k == 0 else e.zero(width)
        by_weight: str | None = None
        for z, u, _, at in self._numbers(k, channel, width):
            value = e.fma(e.splat(r, width), u, shift, width)
            e.store(e.fma(slope, z, value, width), self.results[0][k], at, width)
            g = e.load(self.arrays[1][k], at, width)
            by_weight = e.fma(g, z, by_weight, width)
        total = e.mul(str(by_weight), e.splat(r, width), width)
        self._by_weight(k, channel, width, total)

    def _second(self, k: int, channel: str, width: int) -> None:
        e = self.e
        r, cube, mean_u, along, p, h_z = self.factors
        fifth = e.mul(cube, e.mul(r, r, 1), 1)
        a = e.mul(along, self.inverse, 1)
        # by u = r h - r³ H z / n
        of_z = self._splat([cube, h_z, self.inverse, "-"], width)
        # by z = (3 r⁵ A H - r³ P) z / n - r³ (A h + H u / n)
        z_z = e.mul(e.mul(self._product([fifth, a, h_z]), e.number(3.0), 1), self.inverse, 1)
        z_z = e.splat(e.fma(self._product([cube, p, "-"]), self.inverse, z_z, 1), width)
        z_h = self._splat([cube, a, "-"], width)
        z_u = self._splat([cube, h_z, self.inverse, "-"], width)
        shift = e.zero(width)
        if k == 0:
            shift = self._splat([cube, h_z, self.inverse, mean_u], width)
        weight = e.load(self.weights[k], channel, width)
        by_weight: str | None = None
        for z, u, h, at in self._numbers(k, channel, width):
            by_u = e.fma(of_z, z, e.mul(e.splat(r, width), h, width), width)
            by_z = e.fma(z_z, z, e.fma(z_h, h, e.fma(z_u, u, shift, width), width), width)
            e.store(by_z, self.results[0][k], at, width)
            e.store(e.mul(by_u, weight, width), self.results[1][k], at, width)
            g = e.load(self.arrays[1][k], at, width)
            by_weight = e.fma(by_u, g, by_weight, width)
        self._by_weight(k, channel, width, str(by_weight))

    def _by_weight(self, k: int, channel: str, width: int, value: str) -> None:
        at = self.e.plus(self.e.times(self.atom, self.irreps[k][1]), channel)
        self.e.store(value, self.results[-1][k], at, width)

    def _product(self, factors: list[str]) -> str:
        """Return the product of numbers; a minus among them changes its sign."""
        e = self.e
        total = e.number(-1.0 if "-" in factors else 1.0)
        for factor in factors:
            total = total if factor == "-" else e.mul(total, factor, 1)
        return total

    def _splat(self, factors: list[str], width: int) -> str:
        return self.e.splat(self._product(factors), width)
