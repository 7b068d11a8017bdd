"""Adding a layer's input to its output where their irreps differ in number or kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps

Pairs = tuple[tuple[int, int], ...]


def matching(irreps_in: Irreps, irreps_out: Irreps) -> Pairs:
    """Return pairs (place in the output, place in the input) of irreps of the same kind."""
    place = {irrep.kind: i for i, irrep in enumerate(irreps_in)}
    return tuple(
        (o, place[irrep.kind]) for o, irrep in enumerate(irreps_out) if irrep.kind in place
    )


def add_matching(y: Features, x: Features, pairs: Pairs) -> Features:
    """Return ``y + x`` for matching irreps; of unequal channels the first ones are added."""
    total = list(y)
    for o, i in pairs:
        total[o] = _plus(y[o], x[i])
    return tuple(total)


def add_matching_gradient(by_x: Sequence[Tensor], g: Features, pairs: Pairs) -> Features:
    """Return the derivative by x of a function of y and x, to `by_x` from y added that of the sum.

    Args:
        by_x: Derivative by x on the way through y.
        g: Derivative by the sum.
        pairs: From `matching`.
    """
    total = list(by_x)
    for o, i in pairs:
        total[i] = _plus(by_x[i], g[o])
    return tuple(total)


def _plus(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a + b`` with the channels of `a`."""
    channels, given = a.shape[2], b.shape[2]
    if given == channels:
        return a + b
    if given < channels:
        b = torch.nn.functional.pad(b, (0, channels - given))
    return a + b[..., :channels]
