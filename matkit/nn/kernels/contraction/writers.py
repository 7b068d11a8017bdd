"""Generates what the kernels of the contraction do at one atom."""

from __future__ import annotations

from collections.abc import Callable

from matkit.nn.couplings import Monomial
from matkit.nn.kernels.contraction.kernel import ContractionKernel, ContractionWriter, Jet
from matkit.nn.kernels.contraction.nesting import MonomialTerm, Nest


def generate(kernel: ContractionKernel) -> str:
    """Return the assembly of a module with the function ``entry``."""
    writers: dict[str, Callable[[ContractionKernel], ContractionWriter]]
    writers = {"g": ValueWriter, "x": FeatureWriter, "c": CoefficientWriter}
    return writers[kernel.variable](kernel).text()


class ValueWriter(ContractionWriter):
    """Writes ``B_m = sum over factors f of f t_f`` with ``t_f = c_f + sum over k of c_fk x_k``."""

    def atom(self, nest: Nest, target: int, atom: str) -> None:
        """Write all components of one output irrep."""
        x = self.components(atom)
        places = self.places("b", target, atom)
        totals: list[str | None] = [None] * len(places)
        for factor, terms in nest.factors:
            product = self.product(factor, x)
            for m, inner in self._inner(terms, x).items():
                totals[m] = self.add_product(product, inner, totals[m])
        for (pointer, index), total in zip(places, totals, strict=True):
            self.e.store(total or self.e.zero(self.width), pointer, index, self.width)

    def _inner(self, terms: tuple[MonomialTerm, ...], x: list[Jet]) -> dict[int, Jet]:
        """Return t_f of every component of the output that the factor occurs in."""
        e, width = self.e, self.width
        inner: dict[int, Jet] = {}
        for term in terms:
            for m, place in term.entries:
                c = self.coefficient(place)
                if term.rest is None:
                    inner[m] = Jet(c, None)
                    continue
                value, tangent = inner.get(m, (None, None))
                rest = x[term.rest]
                if rest.tangent is not None:
                    tangent = e.fma(c, rest.tangent, tangent, width)
                inner[m] = Jet(e.fma(c, rest.value, value, width), tangent)
        return inner


class FeatureWriter(ContractionWriter):
    """Writes the derivative of <g, B> by x.

    The polynomials of all components become one with the coefficients q = sum over m of g_m c_m;
    then ``dx_k += f q_fk`` and, for the components of the factor, ``dx_i += t_f f / x_i``.
    """

    def atom(self, nest: Nest, target: int, atom: str) -> None:
        """Write the share of one output irrep; the first sets the derivative, others add to it."""
        x, g = self.components(atom), self.load_all(self.places("g", target, atom))
        places = self.all_places("d", atom)
        self.dx: list[str | None] = [None] * len(places)
        if target:
            self.dx = list(self.load_all(places))
        for factor, terms in nest.factors:
            self._factor(factor, terms, x, g)
        for (pointer, index), total in zip(places, self.dx, strict=True):
            self.e.store(total or self.e.zero(self.width), pointer, index, self.width)

    def _factor(
        self, factor: Monomial, terms: tuple[MonomialTerm, ...], x: list[Jet], g: list[str]
    ) -> None:
        e, width = self.e, self.width
        product = self.product(factor, x)
        value: str | None = None
        tangent: str | None = None
        for term in terms:
            q: str | None = None
            for m, place in term.entries:
                q = e.fma(g[m], self.coefficient(place), q, width)
            if term.rest is None:
                value = q
                continue
            rest, whole = x[term.rest], Jet(str(q), None)
            value = e.fma(whole.value, rest.value, value, width)
            if rest.tangent is not None:
                tangent = e.fma(whole.value, rest.tangent, tangent, width)
            self.dx[term.rest] = self.add_product(product, whole, self.dx[term.rest])
        inner = Jet(str(value), tangent)
        if len(factor) == 2:
            for i, other in (factor, factor[::-1]):
                self.dx[i] = self.add_product(inner, x[other], self.dx[i])
        else:
            added = inner.tangent if self.kernel.tangent else inner.value
            self.dx[factor[0]] = self._sum(self.dx[factor[0]], added)

    def _sum(self, a: str | None, b: str | None) -> str | None:
        return b if a is None else a if b is None else self.e.add(a, b, self.width)


class CoefficientWriter(ContractionWriter):
    """Writes the derivative of <g, B> by the coefficients, summed over the atoms of a row."""

    def begin_row(self) -> None:
        """Set the derivative of the row's block to zero."""
        e, kernel = self.e, self.kernel
        e.used.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        at = e.pointer(self.arg["d"], self.coefficients)
        size = kernel.coefficients * kernel.vector_bytes
        e.do(f"call void @llvm.memset.p0.i64(ptr {at}, i8 0, i64 {size}, i1 false)")

    def atom(self, nest: Nest, target: int, atom: str) -> None:
        """Add the share of an atom to the derivatives by one output irrep's coefficients."""
        x, g = self.components(atom), self.load_all(self.places("g", target, atom))
        for factor, terms in nest.factors:
            product = self.product(factor, x)
            scaled: dict[int, Jet] = {}
            for term in terms:
                for m, place in term.entries:
                    if m not in scaled:
                        scaled[m] = self._scaled(product, g[m])
                    self._add(place, scaled[m], None if term.rest is None else x[term.rest])

    def _scaled(self, product: Jet, g: str) -> Jet:
        value = self.e.mul(product.value, g, self.width)
        if product.tangent is None:
            return Jet(value, None)
        return Jet(value, self.e.mul(product.tangent, g, self.width))

    def _add(self, place: int, scaled: Jet, rest: Jet | None) -> None:
        e = self.e
        at = e.plus(self.coefficients, place * self.kernel.lanes)
        old = e.load(self.arg["d"], at, self.width)
        if rest is None:
            added = scaled.tangent if self.kernel.tangent else scaled.value
            total = e.add(old, str(added), self.width)
        else:
            total = str(self.add_product(scaled, rest, old))
        e.store(total, self.arg["d"], at, self.width)
