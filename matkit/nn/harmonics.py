"""Lengths and spherical harmonics of edge vectors and their derivatives, compiled.

The same numbers as `matkit.nn.irreps.spherical_harmonics`, for callers that do their own
differentiation. Arithmetic is in double precision; on the CPU, eight edges at a time.
"""

from __future__ import annotations

from functools import cache
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.nn.irreps import _ladder
from matkit.nn.kernels import backends, compiler, triton_harmonics
from matkit.nn.kernels.emitter import Carried, Emitter
from matkit.nn.kernels.kernel import module_text
from matkit.nn.kernels.launch import SCALARS, even_chunks, launch

_LANES = 8


def harmonics(
    vectors: Float[Tensor, "E 3"], lmax: int, dtype: torch.dtype, reach: float = inf
) -> tuple[Float[Tensor, " E"], Float[Tensor, "E K"]]:
    """Return lengths [E] in Å, float64, and the harmonics of the directions [E, (lmax + 1)²].

    Args:
        vectors: Edge vectors [E, 3] in Å, float64, none of them zero.
        lmax: Highest degree.
        dtype: Type of the harmonics.
        reach: Harmonics of edges at least this long are zero, Å.
    """
    vectors = _checked(vectors)
    if backends.name_for(vectors.device) == "triton":
        return triton_harmonics.harmonics(vectors, lmax, dtype, reach)
    lengths = vectors.new_empty(len(vectors))
    values = vectors.new_empty(len(vectors), (lmax + 1) ** 2, dtype=dtype)
    entry = _entry(lmax, SCALARS[dtype], "values")
    launch(entry, [vectors, lengths, values], even_chunks(len(vectors)))
    if reach < inf:
        values[lengths >= reach] = 0
    return lengths, values


def harmonics_gradient(
    vectors: Float[Tensor, "E 3"],
    by_length: Float[Tensor, " E"],
    by_harmonics: Float[Tensor, "E K"],
    reach: float = inf,
) -> Float[Tensor, "E 3"]:
    """Return the derivative by the edge vectors [E, 3], float64, given those by the results.

    Args:
        vectors: Edge vectors [E, 3] in Å, float64.
        by_length: Derivative by the lengths [E], float64.
        by_harmonics: Derivative by the harmonics [E, (lmax + 1)²].
        reach: As in `harmonics`.
    """
    vectors = _checked(vectors)
    by_length, by_harmonics = by_length.double().contiguous(), by_harmonics.contiguous()
    if backends.name_for(vectors.device) == "triton":
        return triton_harmonics.harmonics_gradient(vectors, by_length, by_harmonics, reach)
    lmax = round(by_harmonics.shape[1] ** 0.5) - 1
    found = torch.empty_like(vectors)
    entry = _entry(lmax, SCALARS[by_harmonics.dtype], "reverse")
    launch(entry, [vectors, by_length, by_harmonics, found], even_chunks(len(vectors)))
    if reach < inf:
        found[vectors.square().sum(dim=1) >= reach**2] = 0
    return found


def harmonics_tangent(
    vectors: Float[Tensor, "E 3"], changes: Float[Tensor, "E 3"], lmax: int, dtype: torch.dtype
) -> tuple[Float[Tensor, " E"], Float[Tensor, "E K"]]:
    """Return how lengths [E] and harmonics [E, (lmax + 1)²] change with the vectors, on the CPU.

    Args:
        vectors: Edge vectors [E, 3] in Å, float64.
        changes: Of the vectors [E, 3], float64.
        lmax: Highest degree.
        dtype: Type of the harmonics.
    """
    vectors, changes = _checked(vectors), _checked(changes)
    lengths = vectors.new_empty(len(vectors))
    values = vectors.new_empty(len(vectors), (lmax + 1) ** 2, dtype=dtype)
    entry = _entry(lmax, SCALARS[dtype], "tangent")
    launch(entry, [vectors, lengths, values, changes], even_chunks(len(vectors)))
    return lengths, values


def _checked(vectors: Tensor) -> Tensor:
    if vectors.dtype != torch.float64 or vectors.device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"Expected edge vectors in float64 on the CPU or a GPU, got {vectors.dtype} on "
            f"{vectors.device}; use matkit.nn.irreps.spherical_harmonics elsewhere."
        )
    return vectors.detach().contiguous()


@cache
def _entry(lmax: int, scalar: str, what: str) -> int:
    writer = _Writer(lmax, scalar, what)
    return compiler.load(f"harmonics {lmax} {scalar} {what}", writer.text)


class _Writer:
    """Writes the kernel of the `values`, of their `reverse` derivative or of their `tangent`."""

    def __init__(self, lmax: int, scalar: str, what: str) -> None:
        self.lmax, self.scalar, self.what = lmax, scalar, what
        self.size = (lmax + 1) ** 2
        self.e = Emitter("double")

    def text(self) -> str:
        """Return the module."""
        e = self.e
        # Pointers: vectors, lengths (or the derivative by them, or their change), harmonics
        # (likewise), and the result of the reverse derivative or the change of the vectors.
        count = 3 if self.what == "values" else 4
        self.args = [e.load("%args", i, kind="ptr") for i in range(count)]
        self.tile = e.op(f"alloca double, i64 {(self.size + 4) * _LANES}, align 64")
        e.loop(("%begin", "%end", _LANES), self._tile)
        e.do("ret void")
        return module_text(e.used, e.lines, 64)

    def _tile(self, edge: str, _: Carried) -> Carried:
        e = self.e
        count = e.smaller(e.op(f"sub i64 %end, {edge}"), _LANES)
        self._copy(edge, count, (0, 3, 0), reading=True)
        parts = [e.load(self.tile, i * _LANES, _LANES) for i in range(3)]
        square = e.mul(parts[0], parts[0], _LANES)
        for part in parts[1:]:
            square = e.fma(part, part, square, _LANES)
        e.used.add("declare <8 x double> @llvm.sqrt.v8f64(<8 x double>)")
        length = e.op(f"call <8 x double> @llvm.sqrt.v8f64(<8 x double> {square})")
        one = e.splat(e.number(1.0), _LANES)
        inverse = e.op(f"fdiv <8 x double> {one}, {length}")
        direction = [e.mul(part, inverse, _LANES) for part in parts]
        y = self._values(direction)
        if self.what == "reverse":
            self._reverse(edge, count, direction, inverse, y)
            return []
        found = [length, *y]
        if self.what == "tangent":
            self._copy(edge, count, (3, 3, 0), reading=True)
            found = self._changes(direction, inverse, y)
        self._keep(found)
        self._copy(edge, count, (1, 1, 0), reading=False)
        self._copy(edge, count, (2, self.size, 1), reading=False)
        return []

    def _changes(self, direction: list[str], inverse: str, y: list[str]) -> list[str]:
        """Return how the length and all harmonics change with the vector in the tile."""
        e = self.e
        moved = [e.load(self.tile, i * _LANES, _LANES) for i in range(3)]
        along = e.mul(moved[0], direction[0], _LANES)
        for m, d in zip(moved[1:], direction[1:], strict=True):
            along = e.fma(m, d, along, _LANES)
        across = [
            e.op(f"fsub <8 x double> {m}, {e.mul(along, d, _LANES)}")
            for m, d in zip(moved, direction, strict=True)
        ]
        turned = [e.mul(part, inverse, _LANES) for part in across]
        changes = [e.splat(e.number(0.0), _LANES)]
        for degree in range(1, self.lmax + 1):
            below, table = (degree - 1) ** 2, _ladder(degree).tolist()
            for c in range(2 * degree + 1):
                total: str | None = None
                for a, b, value in _nonzero(table, c):
                    product = e.mul(changes[below + a], direction[b], _LANES)
                    product = e.fma(y[below + a], turned[b], product, _LANES)
                    total = e.fma(product, e.splat(e.number(value), _LANES), total, _LANES)
                changes.append(str(total))
        return [along, *changes]

    def _values(self, direction: list[str]) -> list[str]:
        """Return all harmonics: degree by degree from the one below."""
        e = self.e
        y = [e.splat(e.number(1.0), _LANES)]
        for degree in range(1, self.lmax + 1):
            below, table = (degree - 1) ** 2, _ladder(degree).tolist()
            for c in range(2 * degree + 1):
                total: str | None = None
                for a, b, value in _nonzero(table, c):
                    product = e.mul(y[below + a], direction[b], _LANES)
                    total = e.fma(product, e.splat(e.number(value), _LANES), total, _LANES)
                y.append(str(total))
        return y

    def _reverse(
        self, edge: str, count: str, direction: list[str], inverse: str, y: list[str]
    ) -> None:
        e = self.e
        self._copy(edge, count, (1, 1, 0), reading=True)
        self._copy(edge, count, (2, self.size, 1), reading=True)
        by_length, *by_y = (e.load(self.tile, i * _LANES, _LANES) for i in range(self.size + 1))
        total: list[str] = [e.zero(_LANES)] * 3
        for degree in range(self.lmax, 0, -1):
            below, table = (degree - 1) ** 2, _ladder(degree).tolist()
            for c in range(2 * degree + 1):
                for a, b, value in _nonzero(table, c):
                    g = e.mul(by_y[degree**2 + c], e.splat(e.number(value), _LANES), _LANES)
                    total[b] = e.fma(g, y[below + a], total[b], _LANES)
                    by_y[below + a] = e.fma(g, direction[b], by_y[below + a], _LANES)
        along = e.mul(total[0], direction[0], _LANES)
        for g, d in zip(total[1:], direction[1:], strict=True):
            along = e.fma(g, d, along, _LANES)
        # d direction / d vector = (1 - direction direction') / length.
        radial = e.op(f"fsub <8 x double> {by_length}, {e.mul(along, inverse, _LANES)}")
        across = [e.mul(g, inverse, _LANES) for g in total]
        found = [e.fma(radial, d, g, _LANES) for g, d in zip(across, direction, strict=True)]
        self._keep(found)
        self._copy(edge, count, (3, 3, 0), reading=False)

    def _keep(self, vectors: list[str]) -> None:
        for i, vector in enumerate(vectors):
            self.e.store(vector, self.tile, i * _LANES, _LANES)

    def _copy(self, edge: str, count: str, what: tuple[int, int, int], reading: bool) -> None:
        """Copy columns between an array [E, columns] and the tile [columns, 8].

        Args:
            edge: First edge.
            count: Number of edges.
            what: Index of the argument, its columns, and the tile's row for the first of them.
            reading: Whether to copy into the tile.
        """
        e, (argument, columns, row) = self.e, what
        narrow = argument == 2 and self.scalar == "float"
        kind = "float" if narrow else "double"

        def one(lane: str, _: Carried) -> Carried:
            base = e.times(str(e.plus(edge, lane)), columns)
            for column in range(columns):
                at, inside = e.plus(base, column), e.plus(lane, (row + column) * _LANES)
                if reading:
                    value = e.load(self.args[argument], at, kind=kind)
                    value = e.op(f"fpext float {value} to double") if narrow else value
                    e.store(value, self.tile, inside)
                else:
                    value = e.load(self.tile, inside)
                    value = e.op(f"fptrunc double {value} to float") if narrow else value
                    e.store(value, self.args[argument], at, kind=kind)
            return []

        e.loop((0, count, 1), one)


def _nonzero(table: list[list[list[float]]], c: int) -> list[tuple[int, int, float]]:
    entries = ((a, b, row[c]) for a, rows in enumerate(table) for b, row in enumerate(rows))
    return [entry for entry in entries if abs(entry[2]) > 1e-12]
