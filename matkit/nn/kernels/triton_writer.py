"""Generates the kernels of a convolution as Triton source, from the same couplings as on the CPU.

Every number has one writer, so results are the same in every run. Messages live in registers;
the tensor [E, paths · channels] is never made.
"""

from __future__ import annotations

from textwrap import indent

from matkit.nn.kernels.paths import Coupling, pairs
from matkit.nn.kernels.spline import Polynomial
from matkit.nn.kernels.triton_source import (
    EDGES,
    SCALARS,
    Source,
    block_counts,
    block_width,
)

HEAD = """\
import triton
import triton.language as tl
from triton.language.standard import _sum_combine

"""

_GRID = ("low", "inverse", "top")  # first knot, one over the step, last knot but one


def generate(kernel: Source) -> str:
    """Return the source of a module with the function ``kernel``."""
    names = ", ".join(kernel.arguments)
    fixed = f"do_not_specialize_on_alignment={kernel.arguments!r}"  # else one variant of each
    body = [
        "row = tl.program_id(0).to(tl.int64)",
        "first = tl.load(start + row)",
        "last = tl.load(start + row + 1)",
        f"lane = tl.arange(0, {EDGES}).to(tl.int64)",
    ]
    if kernel.table:
        body += [f"{name} = tl.load(grid + {i})" for i, name in enumerate(_GRID)]
    first = 0
    for source, count in enumerate(block_counts(kernel.layout)):
        if count:
            inside = f"(tl.program_id(1) >= {first}) & (tl.program_id(1) < {first + count})"
            body += [f"if {inside}:", *_indented(_SourceWriter(kernel, source, first).lines())]
            first += count
    body = [f"@triton.jit({fixed})", f"def kernel({names}):", *_indented(body)]
    return HEAD + "\n".join(body) + "\n"


def _indented(lines: list[str]) -> list[str]:
    return indent("\n".join(lines), "    ").split("\n")


class _SourceWriter:
    """Writes what programs of one irrep of x do; its number `s` ends the names of variables."""

    def __init__(self, kernel: Source, source: int, first_block: int) -> None:
        self.kernel, self.layout, self.source = kernel, kernel.layout, source
        self.first_block = first_block
        self.degree, self.channels = self.layout.sources[source]
        self.width = block_width(self.channels)
        self.scalar = SCALARS[kernel.scalar]
        self.harmonics = (self.layout.lmax + 1) ** 2
        offsets = self.layout.offsets()
        self.paths = [
            (number, path, *offsets[number])
            for number, path in enumerate(self.layout.paths)
            if path.source == source
        ]

    def lines(self) -> list[str]:
        """Return the body."""
        s = self.source
        found = [
            f"c_{s} = (tl.program_id(1) - {self.first_block}) * {self.width}"
            f" + tl.arange(0, {self.width})",
            f"inside_{s} = c_{s} < {self.channels}",
        ]
        found += self._backward() if self.kernel.gradients else self._forward()
        return found

    def _forward(self) -> list[str]:
        s = self.source
        sums = [
            (f"sum{number}_{m}_{s}", path.target, m, channel)
            for number, path, _, channel in self.paths
            for m in range(2 * self.layout.targets[path.target][0] + 1)
        ]
        found = [f"{name} = {self._zeros()}" for name, *_ in sums]
        found += self._loop(self._features("x", s, f"other_{s}") + self._messages())
        for name, target, m, channel in sums:
            at = self._place("g", target, "row", m, channel)
            found.append(f"tl.store({at}, {_sum(name, 0)}, mask=inside_{s})")
        return found

    def _messages(self) -> list[str]:
        found = []
        for number, path, offset, _ in self.paths:
            found += self._weight(offset, slope=False)
            found += self._couplings(path)
            for m3 in range(2 * self.layout.targets[path.target][0] + 1):
                terms = [
                    f"G{pair.m1}_{m3}_{self.source} * x{pair.m1}_{self.source}"
                    for pair in pairs(*self.layout.degrees(path))
                    if pair.m3 == m3
                ]
                if terms:
                    total = f"sum{number}_{m3}_{self.source}"
                    found.append(f"{total} += weight_{self.source} * ({' + '.join(terms)})")
        return found

    def _backward(self) -> list[str]:
        s, wanted = self.source, self.kernel.gradients
        sizes = range(2 * self.degree + 1)
        found = [
            f"x{m}_{s} = tl.load({self._place('x', s, 'row', m, 0)}, "
            f"mask=inside_{s}, other=0.0)[None, :]"
            for m in sizes
        ]
        if "x" in wanted:
            found += [f"dx{m}_{s} = {self._zeros()}" for m in sizes]
        found += self._loop(self._edge_gradients())
        if "x" in wanted:
            for m in sizes:
                at = self._place("dx", s, "row", m, 0)
                found.append(f"tl.store({at}, {_sum(f'dx{m}_{s}', 0)}, mask=inside_{s})")
        return found

    def _edge_gradients(self) -> list[str]:
        s, wanted, table = self.source, self.kernel.gradients, self.kernel.table
        found = []
        if "y" in wanted:
            found += [f"dy{m}_{s} = {self._zeros()}" for m in self._touched()]
        if "w" in wanted and table:
            found.append(f"dw_{s} = {self._zeros()}")
        for _, path, offset, channel in self.paths:
            found += self._path_gradients(path, offset, channel)
        # Sums over channels: each program has a place of its own, added up afterwards.
        blocks = sum(block_counts(self.layout))
        at = f"edge_{s} * {blocks} + tl.program_id(1)"
        for m in self._touched() if "y" in wanted else []:
            place = f"dy + ({at}) * {self.harmonics} + {m}"
            found.append(f"tl.store({place}, {_sum(f'dy{m}_{s}', 1)}, mask=live_{s})")
        if "w" in wanted and table:
            found.append(f"tl.store(dw + {at}, {_sum(f'dw_{s}', 1)}, mask=live_{s})")
        return found

    def _path_gradients(self, path: Coupling, offset: int, channel: int) -> list[str]:
        s, wanted = self.source, self.kernel.gradients
        found = self._weight(offset, slope="w" in wanted)
        found += self._features("g", path.target, f"other_{s}", channel)
        entries = pairs(*self.layout.degrees(path))
        if "x" in wanted or "w" in wanted:
            found += self._couplings(path)
            found += self._by_x(path)
        if "w" in wanted:
            terms = [f"x{m}_{s} * t{m}_{s}" for m in sorted({pair.m1 for pair in entries})]
            total = " + ".join(terms)
            if self.kernel.table:
                found.append(f"dw_{s} += slope_{s} * ({total})")
            else:
                place = f"dw + {self._weight_place(offset)}"
                found.append(f"tl.store({place}, {total}, mask=mask_{s})")
        if "y" in wanted:
            for pair in entries:
                product = f"p_{s} = weight_{s} * x{pair.m1}_{s} * g{pair.m3}_{s}"
                found.append(product)
                found += [f"dy{m}_{s} += {value!r} * p_{s}" for m, value in pair.terms]
        return found

    def _by_x(self, path: Coupling) -> list[str]:
        """Return t[m1] = sum over m3 of G[m1, m3] g[m3], and its share of the derivative by x."""
        s, found = self.source, []
        entries = pairs(*self.layout.degrees(path))
        for m1 in sorted({pair.m1 for pair in entries}):
            terms = [f"G{m1}_{pair.m3}_{s} * g{pair.m3}_{s}" for pair in entries if pair.m1 == m1]
            found.append(f"t{m1}_{s} = {' + '.join(terms)}")
            if "x" in self.kernel.gradients:
                found.append(f"dx{m1}_{s} += weight_{s} * t{m1}_{s}")
        return found

    def _loop(self, body: list[str]) -> list[str]:
        """Return the loop over the edges of the row, with what belongs to each of them."""
        s = self.source
        head = [f"edge_{s} = k_{s} + lane", f"live_{s} = edge_{s} < last"]
        if self.kernel.gradients:
            head.append(f"edge_{s} = tl.load(order + edge_{s}, mask=live_{s}, other=0)")
        head.append(f"other_{s} = tl.load(other + edge_{s}, mask=live_{s}, other=0)")
        head += self._knots() if self.kernel.table else []
        head.append(f"mask_{s} = live_{s}[:, None] & inside_{s}[None, :]")
        for m in self._touched():
            at = f"y + edge_{s} * {self.harmonics} + {m}"
            head.append(f"y{m}_{s} = tl.load({at}, mask=live_{s}, other=0.0)[:, None]")
        return [f"for k_{s} in range(first, last, {EDGES}):", *_indented(head + body)]

    def _knots(self) -> list[str]:
        """Return the place in the table and the factors of its spline of every edge, in float64."""
        s, spline = self.source, self.kernel.spline
        found = [
            f"u_{s} = tl.load(length + edge_{s}, mask=live_{s}, other=0.0)",
            f"u_{s} = (u_{s} - low) * inverse",
            # Weights are zero from the end of the table on; before it they are not known, and what
            # is not a number stays that.
            f"live_{s} = live_{s} & ((u_{s} >= top + 1.0) == 0)",
            f"u_{s} = tl.where(u_{s} < -1e-6, float('nan'), u_{s})",
            f"knot_{s} = tl.where(u_{s} >= 0.0, tl.minimum(u_{s}, top), 0.0).to(tl.int64)",
            f"u_{s} = u_{s} - knot_{s}.to(tl.float64)",
        ]
        if spline.middle:
            found.append(f"u_{s} = u_{s} - {spline.middle}")
        factors = [(polynomial, "") for polynomial in spline.factors]
        if "w" in self.kernel.gradients:
            factors += [(polynomial, " * inverse") for polynomial in spline.slopes]
        for i, (polynomial, unit) in enumerate(factors):
            value = _horner(polynomial, f"u_{s}")
            found.append(f"f{i}_{s} = ({value}{unit}).to({self.scalar})[:, None]")
        return found

    def _weight(self, offset: int, slope: bool) -> list[str]:
        """Return the weights of a path and, from a table, their derivative by the length."""
        s = self.source
        if not self.kernel.table:
            place = f"w + {self._weight_place(offset)}"
            return [f"weight_{s} = tl.load({place}, mask=mask_{s}, other=0.0)"]
        numel, spline = self.layout.weight_numel, self.kernel.spline
        base = f"w + (knot_{s} * {spline.rows * numel})[:, None] + (c_{s} + {offset})[None, :]"
        found = [f"weight_{s} = tl.load({base}, mask=mask_{s}, other=0.0)"]
        for i, row in enumerate(spline.places):
            found.append(f"r_{s} = tl.load({base} + {row * numel}, mask=mask_{s}, other=0.0)")
            found.append(f"weight_{s} += f{i}_{s} * r_{s}")
            if slope:
                number = len(spline.places) + i
                found.append(f"slope_{s} {'+=' if i else '='} f{number}_{s} * r_{s}")
        return found

    def _weight_place(self, offset: int) -> str:
        s, numel = self.source, self.layout.weight_numel
        return f"(edge_{s} * {numel})[:, None] + (c_{s} + {offset})[None, :]"

    def _couplings(self, path: Coupling) -> list[str]:
        """Return G[m1, m3], the non-zero couplings of x with the output for each edge's Y."""
        s = self.source
        return [
            f"G{pair.m1}_{pair.m3}_{s} = "
            + " + ".join(f"{value!r} * y{m}_{s}" for m, value in pair.terms)
            for pair in pairs(*self.layout.degrees(path))
        ]

    def _features(self, name: str, irrep: int, atom: str, channel: int = 0) -> list[str]:
        """Return loads of all components of the feature of each edge's other atom."""
        degree = (self.layout.sources if name == "x" else self.layout.targets)[irrep][0]
        s = self.source
        return [
            f"{name}{m}_{s} = tl.load({self._place(name, irrep, atom, m, channel)}, "
            f"mask=mask_{s}, other=0.0)"
            for m in range(2 * degree + 1)
        ]

    def _place(self, name: str, irrep: int, atom: str, m: int, channel: int) -> str:
        """Return the address of a component: of one atom (the row) or of several."""
        irreps = self.layout.targets if name == "g" else self.layout.sources
        degree, channels = irreps[irrep]
        base = f"{atom} * {(2 * degree + 1) * channels}"
        columns = f"c_{self.source} + {m * channels + channel}"
        if atom == "row":
            return f"{name}{irrep} + {base} + {columns}"
        return f"{name}{irrep} + ({base})[:, None] + ({columns})[None, :]"

    def _touched(self) -> list[int]:
        """Return the harmonics that this irrep's paths use."""
        found = set()
        for _, path, _, _ in self.paths:
            found |= {m for pair in pairs(*self.layout.degrees(path)) for m, _ in pair.terms}
        return sorted(found)

    def _zeros(self) -> str:
        return f"tl.full([{EDGES}, {self.width}], 0.0, {self.scalar})"


def _horner(polynomial: Polynomial, u: str) -> str:
    """Return the value of a polynomial of the tensor u."""
    *lower, highest = polynomial
    value = f"{highest}.0" if lower else f"({highest}.0 + 0.0 * {u})"
    for coefficient in reversed(lower):
        value = f"({value} * {u} + {coefficient}.0)"
    return value


def _sum(name: str, axis: int) -> str:
    return f"tl.reduce({name}, {axis}, _sum_combine)"
