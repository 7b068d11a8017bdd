"""The symmetric contraction in plain torch: the definition, differentiable to any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels.contraction.layout import ContractionLayout, polynomials


def contract(
    layout: ContractionLayout, x: Features, weights: Sequence[Tensor], index: Tensor
) -> Features:
    """Return the contraction.

    Args:
        layout: Irreps and order.
        x: Features per irrep [N, 2l + 1, channels].
        weights: Of all paths to every output irrep [species, paths, channels].
        index: Index of each atom's species [N].
    """
    # Monomials of lower order have ones for the factors they lack.
    factors = torch.cat([*x, torch.ones_like(x[0][:, :1])], dim=1)
    outputs = []
    for (places, matrix), weight in zip(
        _tables(layout, x[0].dtype, x[0].device), weights, strict=True
    ):
        monomials = factors[:, places[0]]
        for row in places[1:]:
            monomials = monomials * factors[:, row]
        paths = (matrix.flatten(0, 1) @ monomials).unflatten(1, matrix.shape[:2])
        outputs.append((paths * weight[index].unsqueeze(1)).sum(dim=2))
    return tuple(outputs)


@lru_cache(maxsize=64)
def _tables(
    layout: ContractionLayout, dtype: torch.dtype, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Return, for every output, its monomials' factors [order, monomials] and coefficients."""
    one = layout.components
    tables = []
    for _, monomials, coefficients in polynomials(layout):
        rows = [[*m, *[one] * (layout.correlation - len(m))] for m in monomials]
        places = torch.tensor(rows, device=device).T.contiguous()
        tables.append((places, coefficients.to(device, dtype)))
    return tables
