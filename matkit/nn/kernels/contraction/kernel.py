"""What a kernel of the contraction is, and the loops around its polynomials.

A row is a chunk of atoms of one species in one block of channels. The coefficients of the block are
contiguous, so that they stay in the fastest cache while the atoms pass by. Channels run along the
vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from matkit.nn.couplings import Monomial
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.nesting import Nest, nests
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import module_text

BYTES = {"float": 4, "double": 8}


class ContractionKernel(NamedTuple):
    """One function to generate.

    Attributes:
        layout: Irreps and order.
        scalar: ``float`` or ``double``.
        variable: By what <g, B(x, c)> is differentiated: g, which gives B itself, x, or the
            coefficients c.
        tangent: Return not this derivative, but how it changes as x moves along h.
        vector_bytes: Size of the machine's vectors.
    """

    layout: ContractionLayout
    scalar: str
    variable: str
    tangent: bool
    vector_bytes: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector, and channels in a block."""
        return self.vector_bytes // BYTES[self.scalar]

    @property
    def blocks(self) -> int:
        """Blocks of channels."""
        return -(-self.layout.channels // self.lanes)

    @property
    def coefficients(self) -> int:
        """Coefficients of one species and channel."""
        return sum(len(nest.matrix) for nest in nests(self.layout))

    @property
    def arguments(self) -> list[str]:
        """Names of the pointers the kernel takes, in order."""
        sources, targets = range(len(self.layout.sources)), range(len(self.layout.targets))
        names = ["order", "start", "slot", "c", *(f"x{k}" for k in sources)]
        names += [f"h{k}" for k in sources] if self.tangent else []
        names += [f"g{k}" for k in targets] if self.variable != "g" else []
        outputs = {"g": [f"b{k}" for k in targets], "x": [f"d{k}" for k in sources], "c": ["d"]}
        return names + outputs[self.variable]


class Jet(NamedTuple):
    """Value and, where it changes along h, tangent of a vector."""

    value: str
    tangent: str | None


class ContractionWriter(ABC):
    """Writes the loops over rows and atoms; subclasses write what is done at one atom."""

    def __init__(self, kernel: ContractionKernel) -> None:
        self.kernel, self.layout = kernel, kernel.layout
        # The order of the operations is chosen, so LLVM is not to look for another.
        self.e = Emitter(kernel.scalar, flags="contract")
        self.arg: dict[str, str] = {}
        self.width = kernel.lanes
        self.coefficients = self.channel = ""

    @abstractmethod
    def atom(self, nest: Nest, target: int, atom: str) -> None:
        """Write what is done at an atom for one output irrep."""

    def begin_row(self) -> None:  # noqa: B027 a hook, empty by default
        """Write what precedes the atoms of a row."""

    def text(self) -> str:
        """Return the assembly of a module with the function ``entry``, called by every thread."""
        e = self.e
        for i, name in enumerate(self.kernel.arguments):
            self.arg[name] = e.load("%args", i, kind="ptr")
        e.loop(("%begin", "%end", 1), self._row)
        e.do("ret void")
        return module_text(e.used, e.lines, self.kernel.vector_bytes)

    def _row(self, row: str, _: Carried) -> Carried:
        e, kernel = self.e, self.kernel
        chunk = e.op(f"udiv i64 {row}, {kernel.blocks}")
        block = e.op(f"urem i64 {row}, {kernel.blocks}")
        whole, rest = divmod(self.layout.channels, kernel.lanes)
        # Loops that go round once or never, for blocks of full and of smaller width.
        for width, first, last in ((kernel.lanes, 0, whole), (rest, whole, kernel.blocks)):
            if width and first < last:
                end = e.smaller(str(e.plus(block, 1)), last)
                self._write_block(chunk, (e.larger(first, block), end), width)
        return []

    def _write_block(self, chunk: str, bounds: tuple[str, str], width: int) -> None:
        e, kernel = self.e, self.kernel
        ends = [e.load(self.arg["start"], i, kind="i64") for i in (chunk, str(e.plus(chunk, 1)))]
        slot = e.load(self.arg["slot"], chunk, kind="i64")

        def body(block: str, _: Carried) -> Carried:
            self.width = width
            self.channel = e.times(block, kernel.lanes)
            number = str(e.plus(e.times(slot, kernel.blocks), block))
            self.coefficients = e.times(number, kernel.coefficients * kernel.lanes)
            self.begin_row()
            for target, nest in enumerate(nests(self.layout)):

                def at(i: str, _: Carried, nest: Nest = nest, target: int = target) -> Carried:
                    self.atom(nest, target, e.load(self.arg["order"], i, kind="i64"))
                    return []

                e.loop((ends[0], ends[1], 1), at)
            return []

        e.loop((*bounds, 1), body)

    def coefficient(self, place: int) -> str:
        """Load a coefficient of the block."""
        at = self.e.plus(self.coefficients, place * self.kernel.lanes)
        return self.e.load(self.arg["c"], at, self.width)

    def places(self, kind: str, irrep: int, atom: str) -> list[tuple[str, str]]:
        """Return where the components of an atom's feature lie: pointer and index."""
        irreps = self.layout.sources if kind in "xhd" else self.layout.targets
        numbers = 2 * irreps[irrep][0] + 1
        channels = self.layout.channels
        base = self.e.plus(self.e.times(atom, numbers * channels), self.channel)
        return [
            (self.arg[f"{kind}{irrep}"], str(self.e.plus(base, m * channels)))
            for m in range(numbers)
        ]

    def all_places(self, kind: str, atom: str) -> list[tuple[str, str]]:
        """Return where the components of all input irreps lie."""
        sources = range(len(self.layout.sources))
        return [place for irrep in sources for place in self.places(kind, irrep, atom)]

    def load_all(self, places: list[tuple[str, str]]) -> list[str]:
        """Load vectors."""
        return [self.e.load(pointer, index, self.width) for pointer, index in places]

    def components(self, atom: str) -> list[Jet]:
        """Load all components of an atom's x."""
        values = self.load_all(self.all_places("x", atom))
        if not self.kernel.tangent:
            return [Jet(value, None) for value in values]
        tangents = self.load_all(self.all_places("h", atom))
        return [Jet(*pair) for pair in zip(values, tangents, strict=True)]

    def product(self, factor: Monomial, x: list[Jet]) -> Jet:
        """Return a factor of one or two components."""
        first, *others = (x[i] for i in factor)
        for other in others:
            tangent = self.tangent_of_product(first, other, None)
            first = Jet(self.e.mul(first.value, other.value, self.width), tangent)
        return first

    def tangent_of_product(self, a: Jet, b: Jet, total: str | None) -> str | None:
        """Add the tangent of a · b to a total."""
        if a.tangent is not None:
            total = self.e.fma(a.tangent, b.value, total, self.width)
        if b.tangent is not None:
            total = self.e.fma(a.value, b.tangent, total, self.width)
        return total

    def add_product(self, a: Jet, b: Jet, total: str | None) -> str | None:
        """Add a · b, or its tangent where the kernel is to return tangents, to a total."""
        if self.kernel.tangent:
            return self.tangent_of_product(a, b, total)
        return self.e.fma(a.value, b.value, total, self.width)
