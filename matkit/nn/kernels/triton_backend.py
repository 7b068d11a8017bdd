"""The fused GPU backend: the functions of `fused`, on generated Triton kernels."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels import triton_loader
from matkit.nn.kernels.fused import (
    Edges,
    Gradients,
    Inputs,
    TableWeights,
    Weights,
    check_operands,
)
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.triton_source import Source, block_counts
from matkit.nn.kernels.triton_writer import generate


@cache
def source_text(layout: Layout, dtype: torch.dtype, gradients: str, table: bool) -> str:
    """Return the source of a kernel."""
    return generate(Source(layout, SCALARS[dtype], gradients, table))


def product(
    layout: Layout, x: Features, harmonics: Tensor, weights: Weights, edges: Edges
) -> Features:
    """Return the convolution, without autograd; see `fused.product`.

    Edges in no row (padding) and edges from the end of a table on count nothing; edges before its
    begin make results NaN, since no number can be looked at while a CUDA graph is recorded.
    """
    check_operands(layout, (x, harmonics, weights), edges)
    rows = len(edges.start) - 1
    out = tuple(
        harmonics.new_empty(rows, 2 * degree + 1, channels) for degree, channels in layout.targets
    )
    text = source_text(layout, harmonics.dtype, "", isinstance(weights, TableWeights))
    tensors = [edges.start, edges.start, edges.neighbor, harmonics, *_weight_tensors(weights)]
    grid = (rows, sum(block_counts(layout)))
    triton_loader.launch(text, grid, [*tensors, *x, *out], warps=1)
    return out


def gradients(
    layout: Layout, inputs: Inputs, g: Features, edges: Edges, variables: str = "xyw"
) -> Gradients:
    """Return derivatives of <g, conv(x, Y, w)>, without autograd; see `fused.gradients`."""
    x, harmonics, weights = inputs
    check_operands(layout, inputs, edges, g)
    table, blocks = isinstance(weights, TableWeights), sum(block_counts(layout))
    # Zero is right for what no program writes: unused irreps, edges in no row.
    dx = tuple(torch.zeros_like(part) for part in x) if "x" in variables else None
    parts: dict[str, Tensor] = {}
    if "y" in variables:
        parts["y"] = harmonics.new_zeros(len(harmonics), blocks, harmonics.shape[1])
    if "w" in variables:
        columns = blocks if table else layout.weight_numel
        parts["w"] = harmonics.new_zeros(len(harmonics), columns)
    text = source_text(layout, harmonics.dtype, variables, table)
    tensors = [edges.transpose_start, edges.transpose, edges.center, harmonics]
    tensors += [*_weight_tensors(weights), *x, *g, *(dx or ()), *parts.values()]
    grid = (len(edges.transpose_start) - 1, blocks)
    triton_loader.launch(text, grid, tensors, warps=1)
    if "y" in variables:
        parts["y"] = parts["y"].sum(dim=1)
    if "w" in variables and isinstance(weights, TableWeights):
        # The kernel's is by the logarithm.
        parts["w"] = parts["w"].sum(dim=1, dtype=torch.float64).div_(weights.lengths)
        parts["w"] = parts["w"].to(harmonics)
    return Gradients(dx, parts.get("y"), parts.get("w"))


def _weight_tensors(weights: Weights) -> list[Tensor]:
    if isinstance(weights, TableWeights):
        return [weights.rows, weights.lengths.log(), weights.grid]
    return [weights]
