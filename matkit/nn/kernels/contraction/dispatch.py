"""Chooses between a compiled kernel and plain torch."""

from __future__ import annotations

from torch import Tensor

from matkit.nn.kernels.contraction import check, compiled, polynomial
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.species_rows import SpeciesRows


def derivative(
    layout: ContractionLayout, variable: str, operands: Operands, rows: SpeciesRows
) -> tuple[Tensor, ...]:
    """Return what `polynomial.derivative` does, without autograd, by a kernel if it agrees."""
    kernel = compiled.kernel_for(layout, operands.c.dtype, variable, bool(operands.h))
    if check.agrees(kernel):
        return compiled.derivative(kernel, operands, rows)
    found = polynomial.derivative(layout, variable, operands, rows.slot)
    return tuple(part.detach() for part in found)
