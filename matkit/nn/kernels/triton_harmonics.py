"""Lengths and spherical harmonics of edge vectors on a GPU; the functions of `nn.harmonics`."""

from __future__ import annotations

from functools import cache
from math import inf

import torch
from torch import Tensor

from matkit.nn.irreps import _ladder
from matkit.nn.kernels import triton_loader
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.triton_source import SCALARS as NAMES

EDGES = 128  # of one program

_HEAD = """\
import triton
import triton.language as tl

@triton.jit(do_not_specialize=["count"])
def kernel({arguments}, count):
    edge = tl.program_id(0).to(tl.int64) * {edges} + tl.arange(0, {edges})
    live = edge < count
    d0 = tl.load(vectors + edge * 3, mask=live, other=1.0)
    d1 = tl.load(vectors + edge * 3 + 1, mask=live, other=0.0)
    d2 = tl.load(vectors + edge * 3 + 2, mask=live, other=0.0)
    length = tl.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
    d0 = d0 / length
    d1 = d1 / length
    d2 = d2 / length
"""


def harmonics(
    vectors: Tensor, lmax: int, dtype: torch.dtype, reach: float
) -> tuple[Tensor, Tensor]:
    """Return lengths [E], float64, and harmonics [E, (lmax + 1)²], zero from `reach` on."""
    lengths = vectors.new_empty(len(vectors))
    values = vectors.new_empty(len(vectors), (lmax + 1) ** 2, dtype=dtype)
    _launch(_forward(lmax, NAMES[SCALARS[dtype]], reach), [vectors, lengths, values])
    return lengths, values


def harmonics_gradient(
    vectors: Tensor, by_length: Tensor, by_harmonics: Tensor, reach: float
) -> Tensor:
    """Return the derivative by the edge vectors [E, 3], float64, zero from `reach` on."""
    found = torch.empty_like(vectors)
    lmax = round(by_harmonics.shape[1] ** 0.5) - 1
    _launch(_backward(lmax, reach), [vectors, by_length, by_harmonics, found])
    return found


def _launch(text: str, tensors: list[Tensor]) -> None:
    count = len(tensors[0])
    triton_loader.launch(text, (-(-count // EDGES),), tensors, count, warps=4)


@cache
def _forward(lmax: int, scalar: str, reach: float) -> str:
    lines = _values(lmax)
    lines.append("tl.store(lengths + edge, length, mask=live)")
    size = (lmax + 1) ** 2
    for m in range(size):
        value = f"y{m}" if reach == inf else f"tl.where(length >= {reach!r}, 0.0, y{m})"
        lines.append(f"tl.store(values + edge * {size} + {m}, ({value}).to({scalar}), mask=live)")
    return _module("vectors, lengths, values", lines)


@cache
def _backward(lmax: int, reach: float) -> str:
    lines, size = _values(lmax), (lmax + 1) ** 2
    for m in range(size):
        at = f"by_harmonics + edge * {size} + {m}"
        lines.append(f"g{m} = tl.load({at}, mask=live, other=0.0).to(tl.float64)")
    lines += [f"t{i} = d{i} * 0.0" for i in range(3)]
    for degree in range(lmax, 0, -1):
        for a, b, c, value in _couplings(degree):
            below, here = (degree - 1) ** 2 + a, degree**2 + c
            lines.append(f"t{b} += {value!r} * g{here} * y{below}")
            lines.append(f"g{below} += {value!r} * g{here} * d{b}")
    # d direction / d vector = (1 - direction direction') / length.
    lines.append("along = t0 * d0 + t1 * d1 + t2 * d2")
    lines.append("radial = tl.load(by_length + edge, mask=live, other=0.0) - along / length")
    for i in range(3):
        slope = f"radial * d{i} + t{i} / length"
        slope = slope if reach == inf else f"tl.where(length >= {reach!r}, 0.0, {slope})"
        lines.append(f"tl.store(found + edge * 3 + {i}, {slope}, mask=live)")
    return _module("vectors, by_length, by_harmonics, found", lines)


def _values(lmax: int) -> list[str]:
    """Return the harmonics y0, y1, ...: degree by degree from the one below."""
    lines = ["y0 = d0 * 0.0 + 1.0"]
    for degree in range(1, lmax + 1):
        terms: dict[int, list[str]] = {}
        for a, b, c, value in _couplings(degree):
            terms.setdefault(c, []).append(f"{value!r} * y{(degree - 1) ** 2 + a} * d{b}")
        lines += [f"y{degree**2 + c} = {' + '.join(terms[c])}" for c in sorted(terms)]
    return lines


def _couplings(degree: int) -> list[tuple[int, int, int, float]]:
    """Return the non-zero (a, b, c, T_abc) with Y_l,c = sum of T_abc Y_{l-1},a direction_b."""
    table = _ladder(degree)
    places = torch.nonzero(table.abs() > 1e-12).tolist()
    return [(a, b, c, float(table[a, b, c])) for a, b, c in places]


def _module(arguments: str, lines: list[str]) -> str:
    head = _HEAD.format(arguments=arguments, edges=EDGES)
    return head + "".join(f"    {line}\n" for line in lines)
