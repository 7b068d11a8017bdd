"""The coefficients of polynomials that kernels of the contraction read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.nesting import nests


def coefficients(layout: ContractionLayout, weights: Sequence[Tensor], lanes: int) -> Tensor:
    """Return the coefficients of all species [species, blocks, coefficients, lanes].

    Args:
        layout: Irreps and order.
        weights: Of all paths to every output irrep [species, paths, channels].
        lanes: Channels of a block; the last block is filled up with zeros.
    """
    padding = -layout.channels % lanes
    parts = []
    for matrix, weight in zip(_matrices(layout, weights[0].dtype), weights, strict=True):
        padded = torch.nn.functional.pad(weight, (0, padding)) if padding else weight
        parts.append(matrix @ padded.unflatten(2, (-1, lanes)).transpose(1, 2))
    return torch.cat(parts, dim=2)


@lru_cache(maxsize=64)
def _matrices(layout: ContractionLayout, dtype: torch.dtype) -> list[Tensor]:
    return [nest.matrix.to(dtype) for nest in nests(layout)]
