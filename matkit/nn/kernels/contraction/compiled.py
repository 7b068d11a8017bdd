"""Runs the compiled kernels of the contraction."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from matkit.nn.kernels import compiler
from matkit.nn.kernels.contraction.kernel import ContractionKernel
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.kernels.contraction.writers import generate
from matkit.nn.kernels.fused import check_features, check_tensor
from matkit.nn.kernels.launch import SCALARS, even_chunks, launch
from matkit.nn.species_rows import SpeciesRows


def kernel_for(
    layout: ContractionLayout, dtype: torch.dtype, variable: str = "g", tangent: bool = False
) -> ContractionKernel:
    """Return a kernel for this processor."""
    size = compiler.vector_unit()[0]
    return ContractionKernel(layout, SCALARS[dtype], variable, tangent, size)


@lru_cache(maxsize=256)
def kernel_entry(kernel: ContractionKernel) -> int:
    """Return the address of a kernel, compiling it where it is in no cache."""
    return compiler.load(repr(kernel), lambda: generate(kernel))


def derivative(
    kernel: ContractionKernel, operands: Operands, rows: SpeciesRows
) -> tuple[Tensor, ...]:
    """Return what `polynomial.derivative` does, without autograd; tensors must be contiguous.

    Raises:
        ConfigError: a shape, a type or a place in memory is not what the kernel expects.
    """
    c, x, g, h = operands
    atoms = rows.order.shape[0]
    _check_operands(kernel, operands, atoms)
    if kernel.variable == "c":
        out: tuple[Tensor, ...] = (torch.empty_like(c),)
        start, slot = rows.whole, torch.arange(rows.species.shape[0])
    else:
        irreps = kernel.layout.targets if kernel.variable == "g" else kernel.layout.sources
        out = tuple(
            c.new_empty(atoms, 2 * degree + 1, kernel.layout.channels) for degree, _ in irreps
        )
        start, slot = rows.start, rows.chunk_slot
    tensors = [rows.order, start, slot, c, *x, *h, *(g if kernel.variable != "g" else ()), *out]
    launch(kernel_entry(kernel), tensors, even_chunks(slot.shape[0] * kernel.blocks))
    return out


def _check_operands(kernel: ContractionKernel, operands: Operands, atoms: int) -> None:
    c, x, g, h = operands
    layout, like = kernel.layout, c.new_empty(0, device="cpu")
    sources = tuple((degree, layout.channels) for degree, _ in layout.sources)
    targets = tuple((degree, layout.channels) for degree, _ in layout.targets)
    check_features("x", x, sources, (atoms, like))
    if kernel.tangent:
        check_features("h", h, sources, (atoms, like))
    if kernel.variable != "g":
        check_features("g", g, targets, (atoms, like))
    check_tensor("c", c, (c.shape[0], kernel.blocks, kernel.coefficients, kernel.lanes), like)
