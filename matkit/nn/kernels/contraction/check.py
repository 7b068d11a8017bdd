"""Compares each kernel of the contraction with plain torch before it is trusted."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor

from matkit.nn.kernels.check import TOLERANCE
from matkit.nn.kernels.contraction import compiled, polynomial
from matkit.nn.kernels.contraction.kernel import ContractionKernel
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.species_rows import species_rows

logger = logging.getLogger(__name__)

DTYPES = {scalar: dtype for dtype, scalar in SCALARS.items()}


@lru_cache(maxsize=256)
def agrees(kernel: ContractionKernel) -> bool:
    """Return whether a kernel works here and is right; log a warning if not."""
    try:
        error = largest_error(kernel)
    # Whatever goes wrong in compiling or loading code, plain torch works.
    except Exception as problem:
        logger.warning("A compiled contraction cannot be used, plain torch is: %r", problem)
        return False
    if error <= TOLERANCE[DTYPES[kernel.scalar]]:
        return True
    logger.warning(
        "A compiled contraction is off by %.1e (relative) from plain torch, which is used instead. "
        "Please report this with the name of your processor.",
        error,
    )
    return False


def largest_error(kernel: ContractionKernel) -> float:
    """Return the largest difference from plain torch, relative to the largest number."""
    layout, generator = kernel.layout, torch.Generator().manual_seed(0)
    rows = species_rows(torch.tensor([1, 0, 1]), n_species=2)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def features(irreps: tuple[tuple[int, int], ...]) -> tuple[Tensor, ...]:
        return tuple(random(3, 2 * degree + 1, layout.channels) for degree, _ in irreps)

    c = random(2, kernel.blocks, kernel.coefficients, kernel.lanes)
    c.transpose(2, 3).flatten(1, 2)[:, layout.channels :] = 0  # what fills up the last block
    x, h = features(layout.sources), features(layout.sources) if kernel.tangent else ()
    exact = Operands(c, x, features(layout.targets), h)
    expected = _derivative(kernel, exact, rows.slot)
    kind = DTYPES[kernel.scalar]
    rounded = Operands(c.to(kind), *(tuple(part.to(kind) for part in parts) for parts in exact[1:]))
    found = compiled.derivative(kernel, rounded, rows)
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(found, expected, strict=True)
    )


def _derivative(kernel: ContractionKernel, operands: Operands, slot: Tensor) -> list[Tensor]:
    """Return what a kernel should: block by block of channels, all at once take 100 MB."""
    c, *features = operands
    parts: list[list[Tensor]] = []
    for block in range(kernel.blocks):
        channels = slice(block * kernel.lanes, (block + 1) * kernel.lanes)
        some = [tuple(part[..., channels] for part in feature) for feature in features]
        given = Operands(c[:, block : block + 1], *some)
        found = polynomial.derivative(kernel.layout, kernel.variable, given, slot)
        parts.append([part.detach() for part in found])
    along = 1 if kernel.variable == "c" else 2
    return [torch.cat(blocks, dim=along) for blocks in zip(*parts, strict=True)]
