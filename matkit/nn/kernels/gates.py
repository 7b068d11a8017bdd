"""Compiled gates of single atoms and their derivatives, see `matkit.nn.equivariant.Gate`."""

from __future__ import annotations

from functools import cache
from math import factorial, log

from matkit.nn.equivariant import RMS
from matkit.nn.kernels import compiler
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import blocks, module_text

Irreps = tuple[tuple[int, int], ...]  # degree and channels of each
# Bits of the fraction, of an exponent of one, and the powers needed for exp(x) at |x| < 0.35.
FORMATS = {"float": (23, 127, 7), "double": (52, 1023, 13)}


@cache
def gate_entry(scalar: str, irreps: Irreps, order: int) -> int:
    """Return the address of the kernel of a gate, whose rows are atoms.

    Its arguments are pointers, irrep by irrep: of its input; of the derivative by its output; of
    that by this derivative; and of the results. These are the output; the derivative by the
    input; or, of that times what is given, the derivatives by input and first derivative.

    Args:
        scalar: ``float`` or ``double``.
        irreps: Of the output, scalars first; those of degree zero that follow are odd.
        order: 0 for the output, 1 and 2 for derivatives.
    """
    key = f"gate {scalar} {irreps} {order} {compiler.vector_unit()}"
    return compiler.load(key, _GateWriter(scalar, irreps, order).text)


class _GateWriter:
    """Writes the kernel."""

    def __init__(self, scalar: str, irreps: Irreps, order: int) -> None:
        self.e, self.irreps, self.order = Emitter(scalar), irreps, order
        self.bytes, _ = compiler.vector_unit()
        self.lanes = self.bytes // (4 if scalar == "float" else 8)
        self.wide = irreps[0][1] + sum(channels for degree, channels in irreps[1:] if degree)

    def text(self) -> str:
        """Return the module."""
        e, count = self.e, len(self.irreps)
        arrays = (2, 3, 5)[self.order]
        pointers = [e.load("%args", i, kind="ptr") for i in range(count * arrays)]
        self.x, self.g, self.h = (pointers[i * count : (i + 1) * count] for i in range(3))
        self.out = pointers[(self.order + 1) * count :]
        e.loop(("%begin", "%end", 1), self._atom)
        e.do("ret void")
        return module_text(e.used, e.lines, self.bytes)

    def _atom(self, atom: str, _: Carried) -> Carried:
        gate = self.irreps[0][1]
        for k, (degree, channels) in enumerate(self.irreps):
            for first, end, width in blocks(channels, self.lanes):

                def block(
                    at: str, _: Carried, k: int = k, gate: int = gate, width: int = width
                ) -> Carried:
                    self._block((k, atom, at, width), gate)
                    return []

                self.e.loop((first, end, width), block)
            gate += channels if k and degree else 0
        return []

    def _block(self, place: tuple[int, str, str, int], gate: int) -> None:
        """Write some channels of irrep k; `gate` is the first of its gates."""
        e, (k, atom, channel, width) = self.e, place
        degree, channels = self.irreps[k]
        base = e.plus(e.times(atom, (2 * degree + 1) * channels), channel)
        rows = [e.plus(base, m * channels) for m in range(2 * degree + 1)]
        if degree == 0 and k:
            self._odd(k, rows[0], width)
            return
        even = e.plus(e.times(atom, self.wide), e.plus(channel, gate if k else 0))
        x = e.load(self.x[0], even, width)
        logistic = self._logistic(x, width)
        rms = e.splat(e.number(RMS["silu"]), width)
        activated = e.mul(e.mul(x, logistic, width), rms, width)
        if self.order == 0:
            for row in rows:
                value = e.mul(e.load(self.x[k], row, width), activated, width) if k else activated
                e.store(value, self.out[k], row, width)
            return
        # s (1 + x (1 - s)) = s + x s - x s s, with s the logistic function.
        rest = self._minus(self._one(width), logistic, width)
        slope = e.mul(logistic, e.fma(x, rest, self._one(width), width), width)
        slope = e.mul(slope, rms, width)
        arriving: str | None = None if k else e.load(self.g[0], rows[0], width)
        for row in rows if k else []:
            g = e.load(self.g[k], row, width)
            arriving = e.fma(g, e.load(self.x[k], row, width), arriving, width)
            if self.order == 1:
                e.store(e.mul(g, activated, width), self.out[k], row, width)
        if self.order == 1:
            e.store(e.mul(str(arriving), slope, width), self.out[0], even, width)
            return
        h_slope = e.mul(e.load(self.h[0], even, width), slope, width)
        by_even = e.mul(self._curvature(x, logistic, width), str(arriving), width)
        by_even = e.mul(by_even, e.load(self.h[0], even, width), width)
        if not k:
            e.store(h_slope, self.out[len(self.irreps)], rows[0], width)
        for row in rows if k else []:
            g, h = e.load(self.g[k], row, width), e.load(self.h[k], row, width)
            by_even = e.fma(e.mul(g, h, width), slope, by_even, width)
            e.store(e.mul(h_slope, g, width), self.out[k], row, width)
            by_g = e.fma(h, activated, e.mul(h_slope, e.load(self.x[k], row, width), width), width)
            e.store(by_g, self.out[len(self.irreps) + k], row, width)
        e.store(by_even, self.out[0], even, width)

    def _curvature(self, x: str, logistic: str, width: int) -> str:
        """Return the second derivative of the activation, s (1 - s) (2 + x (1 - 2 s))."""
        e, one = self.e, self._one(width)
        rest = self._minus(one, logistic, width)
        two = e.splat(e.number(2.0), width)
        tail = e.fma(x, self._minus(rest, logistic, width), two, width)
        product = e.mul(e.mul(logistic, rest, width), tail, width)
        return e.mul(product, e.splat(e.number(RMS["silu"]), width), width)

    def _odd(self, k: int, row: str | int, width: int) -> None:
        """Write tanh(x) = 2 s(2x) - 1, or its derivatives."""
        e, one = self.e, self._one(width)
        x, rms = e.load(self.x[k], row, width), e.splat(e.number(RMS["tanh"]), width)
        logistic = self._logistic(e.add(x, x, width), width)
        value = self._minus(e.add(logistic, logistic, width), one, width)
        if self.order == 0:
            e.store(e.mul(value, rms, width), self.out[k], row, width)
            return
        slope = e.mul(self._minus(one, e.mul(value, value, width), width), rms, width)
        if self.order == 1:
            by_x = e.mul(slope, e.load(self.g[k], row, width), width)
            e.store(by_x, self.out[k], row, width)
            return
        by_g = e.mul(slope, e.load(self.h[k], row, width), width)
        e.store(by_g, self.out[len(self.irreps) + k], row, width)
        by_x = e.mul(e.mul(by_g, value, width), e.load(self.g[k], row, width), width)
        e.store(e.mul(by_x, e.splat(e.number(-2.0), width), width), self.out[k], row, width)

    def _logistic(self, x: str, width: int) -> str:
        """Return 1 / (1 + exp(-x))."""
        e, kind, one = self.e, self.e.type(width), self._one(width)
        fraction, bias, powers = FORMATS[e.scalar]
        bits = 32 if e.scalar == "float" else 64
        suffix = f"v{width}f{bits}" if width > 1 else f"f{bits}"
        # exp(-x) = 2^n exp(r), n whole; beyond the bounds the result is 0 or 1 anyway.
        t = e.mul(x, e.splat(e.number(-1 / log(2)), width), width)
        for name, bound in (("maxnum", 1 - bias), ("minnum", bias)):
            e.used.add(f"declare {kind} @llvm.{name}.{suffix}({kind}, {kind})")
            limit = e.splat(e.number(bound), width)
            t = e.op(f"call {kind} @llvm.{name}.{suffix}({kind} {t}, {kind} {limit})")
        e.used.add(f"declare {kind} @llvm.rint.{suffix}({kind})")
        n = e.op(f"call {kind} @llvm.rint.{suffix}({kind} {t})")
        r = self._minus(t, n, width)
        exp = e.splat(e.number(log(2) ** powers / factorial(powers)), width)
        for power in range(powers - 1, -1, -1):
            exp = e.fma(exp, r, e.splat(e.number(log(2) ** power / factorial(power)), width), width)
        whole = f"<{width} x i{bits}>" if width > 1 else f"i{bits}"
        constant = self._whole(bias, bits, width), self._whole(fraction, bits, width)
        biased = e.op(f"add {whole} {e.op(f'fptosi {kind} {n} to {whole}')}, {constant[0]}")
        shifted = e.op(f"shl {whole} {biased}, {constant[1]}")
        scale = e.op(f"bitcast {whole} {shifted} to {kind}")
        below = e.fma(exp, scale, one, width)
        return e.op(f"fdiv {kind} {one}, {below}")

    def _whole(self, value: int, bits: int, width: int) -> str:
        return f"<{', '.join([f'i{bits} {value}'] * width)}>" if width > 1 else str(value)

    def _one(self, width: int) -> str:
        return self.e.splat(self.e.number(1.0), width)

    def _minus(self, a: str, b: str, width: int) -> str:
        return self.e.op(f"fsub {self.e.type(width)} {a}, {b}")
