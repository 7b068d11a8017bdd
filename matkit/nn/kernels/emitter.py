"""A few helpers to write LLVM assembly: values, vectors, memory, loops."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import count

Carried = list[str]


class Emitter:
    """Text of one LLVM function, written from top to bottom.

    Values are SSA names (strings). A vector of width 1 is a scalar.

    Args:
        scalar: ``float`` or ``double``.
        flags: What LLVM may change in products and sums; the order of the operations with "fast".
    """

    def __init__(self, scalar: str, flags: str = "fast") -> None:
        self.scalar, self.flags = scalar, flags
        self.lines: list[str] = []
        self.used: set[str] = set()
        self.block = "entry"
        self._names = count()

    def fresh(self) -> str:
        """Return an unused name."""
        return f"%v{next(self._names)}"

    def op(self, text: str) -> str:
        """Write an instruction and return the name of its result."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Write an instruction without result."""
        self.lines.append(f"  {text}")

    def type(self, width: int) -> str:
        """Return the type of a vector of floating-point numbers."""
        return f"<{width} x {self.scalar}>" if width > 1 else self.scalar

    def number(self, value: float) -> str:
        """Return a literal; LLVM writes float literals with the bits of a double."""
        if self.scalar == "float":
            value = struct.unpack("f", struct.pack("f", value))[0]
        return f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"

    def splat(self, value: str, width: int) -> str:
        """Return a vector whose entries all are `value`."""
        if width == 1:
            return value
        kind = self.type(width)
        if value.startswith("0x"):
            return f"<{', '.join([f'{self.scalar} {value}'] * width)}>"
        one = self.op(f"insertelement {kind} poison, {self.scalar} {value}, i64 0")
        return self.op(
            f"shufflevector {kind} {one}, {kind} poison, <{width} x i32> zeroinitializer"
        )

    def zero(self, width: int) -> str:
        """Return the zero vector."""
        return "zeroinitializer" if width > 1 else self.number(0.0)

    def mul(self, a: str, b: str, width: int) -> str:
        """Return a · b."""
        return self.op(f"fmul {self.flags} {self.type(width)} {a}, {b}")

    def add(self, a: str, b: str, width: int) -> str:
        """Return a + b."""
        return self.op(f"fadd {self.flags} {self.type(width)} {a}, {b}")

    def fma(self, a: str, b: str, c: str | None, width: int) -> str:
        """Return a · b + c, or a · b where there is no c yet."""
        if c is None:
            return self.mul(a, b, width)
        kind, bits = self.type(width), 32 if self.scalar == "float" else 64
        suffix = f"v{width}f{bits}" if width > 1 else f"f{bits}"
        self.used.add(f"declare {kind} @llvm.fmuladd.{suffix}({kind}, {kind}, {kind})")
        return self.op(
            f"call {self.flags} {kind} @llvm.fmuladd.{suffix}({kind} {a}, {kind} {b}, {kind} {c})"
        )

    def sum(self, vector: str, width: int) -> str:
        """Return the sum of a vector's entries."""
        if width == 1:
            return vector
        kind, bits = self.type(width), 32 if self.scalar == "float" else 64
        name = f"@llvm.vector.reduce.fadd.v{width}f{bits}"
        self.used.add(f"declare {self.scalar} {name}({self.scalar}, {kind})")
        zero = self.number(0.0)
        return self.op(f"call fast {self.scalar} {name}({self.scalar} {zero}, {kind} {vector})")

    def pointer(self, base: str, index: str | int, kind: str = "") -> str:
        """Return the address ``base + index`` in units of `kind`, by default the scalar."""
        return self.op(f"getelementptr inbounds {kind or self.scalar}, ptr {base}, i64 {index}")

    def load(self, base: str, index: str | int, width: int = 1, kind: str = "") -> str:
        """Load a vector (or a scalar of another `kind`) that begins at ``base[index]``."""
        address = self.pointer(base, index, kind)
        wanted = kind or self.type(width)
        return self.op(f"load {wanted}, ptr {address}, align {_size(kind or self.scalar)}")

    def store(
        self, value: str, base: str, index: str | int, width: int = 1, kind: str = ""
    ) -> None:
        """Store a vector (or a scalar of another `kind`) at ``base[index]``."""
        address = self.pointer(base, index, kind)
        wanted = kind or self.type(width)
        self.do(f"store {wanted} {value}, ptr {address}, align {_size(kind or self.scalar)}")

    def plus(self, a: str | int, b: str | int) -> str | int:
        """Return the integer a + b, folding constants."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return a if b == 0 else b if a == 0 else self.op(f"add nsw i64 {a}, {b}")

    def times(self, a: str, b: str | int) -> str:
        """Return the integer a · b."""
        return self.op(f"mul nsw i64 {a}, {b}")

    def smaller(self, a: str, b: str | int) -> str:
        """Return the smaller of two integers."""
        test = self.op(f"icmp slt i64 {a}, {b}")
        return self.op(f"select i1 {test}, i64 {a}, i64 {b}")

    def larger(self, a: str | int, b: str) -> str:
        """Return the larger of two integers."""
        test = self.op(f"icmp sgt i64 {a}, {b}")
        return self.op(f"select i1 {test}, i64 {a}, i64 {b}")

    def doubles(self) -> Emitter:
        """Return an emitter that writes into the same text, in double precision."""
        other = Emitter("double")
        other.lines, other.used, other._names = self.lines, self.used, self._names
        return other

    def call(self, name: str, *args: str) -> str:
        """Return an intrinsic function of scalars."""
        kind, bits = self.scalar, 32 if self.scalar == "float" else 64
        self.used.add(f"declare {kind} @llvm.{name}.f{bits}({', '.join([kind] * len(args))})")
        given = ", ".join(f"{kind} {arg}" for arg in args)
        return self.op(f"call {kind} @llvm.{name}.f{bits}({given})")

    def loop(
        self,
        bounds: tuple[str | int, str | int, int],
        body: Callable[[str, Carried], Carried],
        start: Sequence[tuple[str, str]] = (),
    ) -> Carried:
        """Write ``for i in range(*bounds)``.

        Args:
            bounds: First, end and step.
            body: From i and the values carried so far to their next values.
            start: Types and first values of what is carried.

        Returns:
            Values carried at the end.
        """
        first, end, step = bounds
        tag = f"l{self.fresh()[2:]}"
        index, carried = self.fresh(), [self.fresh() for _ in start]
        before = self.block
        self.do(f"br label %{tag}.head")
        self.lines.append(f"{tag}.head:")
        place = len(self.lines)
        test = self.fresh()
        self.lines += [f"  {test} = icmp slt i64 {index}, {end}"]
        self.do(f"br i1 {test}, label %{tag}.body, label %{tag}.exit")
        self.lines.append(f"{tag}.body:")
        self.block = f"{tag}.body"
        after = body(index, list(carried))
        following = self.op(f"add nsw i64 {index}, {step}")
        self.do(f"br label %{tag}.head")
        phis = [f"  {index} = phi i64 [{first}, %{before}], [{following}, %{self.block}]"]
        for name, (kind, value), new in zip(carried, start, after, strict=True):
            phis.append(f"  {name} = phi {kind} [{value}, %{before}], [{new}, %{self.block}]")
        self.lines[place:place] = phis
        self.lines.append(f"{tag}.exit:")
        self.block = f"{tag}.exit"
        return carried


def _size(kind: str) -> int:
    return {"float": 4, "double": 8, "i64": 8, "ptr": 8}[kind]
