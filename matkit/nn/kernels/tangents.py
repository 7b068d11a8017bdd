"""How a convolution changes with its arguments, and the derivatives of that, for training.

With dashes for changes, the convolution changes by

    conv'(x, Y, w) = conv(x, Y', w) + conv(x, Y, w') + conv(x', Y, w),

which one kernel sums up, and a second one has the derivatives by x and w of
<h, conv> + <g, conv'>. Nothing is looked at: all tensors come from kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels import compiler
from matkit.nn.kernels.codegen import generate
from matkit.nn.kernels.fused import Edges
from matkit.nn.kernels.kernel import Kernel
from matkit.nn.kernels.launch import SCALARS, launch, row_chunks
from matkit.nn.kernels.paths import Layout


class Arguments(NamedTuple):
    """Of a convolution, or their changes.

    Attributes:
        x: Features [N, 2l + 1, channels] per irrep; none as a change if they stay.
        harmonics: Harmonics of every edge [E, (lmax + 1)²].
        weights: Weights [E, weight_numel].
    """

    x: Features
    harmonics: Tensor
    weights: Tensor


def change(layout: Layout, at: Arguments, by: Arguments, edges: Edges) -> Features:
    """Return how the convolution `at` some arguments changes if they change `by` others."""
    n_atoms = edges.start.shape[0] - 1
    out = tuple(
        at.harmonics.new_empty(n_atoms, 2 * degree + 1, channels)
        for degree, channels in layout.targets
    )
    rows = [edges.start, None, edges.neighbor]
    _launch(layout, "", (at, by), [*rows, *_read(at), *at.x, *out, by.harmonics, by.weights, *by.x])
    return out


def gradients(
    layout: Layout,
    at: Arguments,
    by: Arguments,
    cotangents: tuple[Features, Features],
    edges: Edges,
) -> tuple[Features, Tensor]:
    """Return the derivatives by x and w of <h, conv> + <g, conv'>.

    Args:
        layout: Irreps and paths.
        at: Arguments.
        by: Their changes.
        cotangents: g and h [N, 2l + 1, channels] per irrep.
        edges: Edges.
    """
    g, h = cotangents
    by_x, by_w = tuple(map(torch.empty_like, at.x)), torch.empty_like(at.weights)
    rows = [edges.transpose_start, edges.transpose, edges.center]
    tensors = [*rows, *_read(at), *at.x, *g, *by_x, by_w, by.harmonics, by.weights, *by.x, *h]
    _launch(layout, "xw", (at, by), tensors)
    return by_x, by_w


def _read(at: Arguments) -> list[Tensor | None]:
    return [at.harmonics, at.weights, None, None]


def _launch(
    layout: Layout,
    gradients: str,
    given: tuple[Arguments, Arguments],
    tensors: Sequence[Tensor | None],
) -> None:
    at, by = given
    entry = _entry(layout, at.weights.dtype, gradients, "xyw" if by.x else "yw")
    start = tensors[0]
    assert start is not None
    launch(entry, tensors, row_chunks(start))


@cache
def _entry(layout: Layout, dtype: torch.dtype, gradients: str, tangent: str) -> int:
    size, registers = compiler.vector_unit()
    kernel = Kernel(layout, SCALARS[dtype], gradients, tangent, False, size, registers)
    return compiler.load(repr(kernel), lambda: generate(kernel))
