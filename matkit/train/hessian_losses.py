"""Losses of predicted Hessians: all entries, and the softest directions of the true ones.

To train the head alone, freeze ``backbone`` (a pattern of `freeze`): energy and forces stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.pair_blocks import PairBlocks


class SoftModes(NamedTuple):
    """Eigenvectors of a Hessian with the lowest eigenvalues.

    Attributes:
        vectors: Columns [3n, k], orthonormal.
        values: Eigenvalues [k], eV/Å², ascending.
    """

    vectors: Float[Tensor, "M k"]
    values: Float[Tensor, " k"]


def soft_modes(hessian: Float[Tensor, "M M"], count: int = 8) -> SoftModes:
    """Return the `count` lowest modes of a true Hessian [3n, 3n], or all if it has fewer.

    Eight are six rigid motions and two more.
    """
    values, vectors = torch.linalg.eigh(hessian)
    return SoftModes(vectors[:, :count], values[:count])


def hessian_losses(
    blocks: PairBlocks, targets: Sequence[Tensor], modes: Sequence[SoftModes] = ()
) -> dict[str, Float[Tensor, " B"]]:
    """Return the losses of every structure, eV/Å².

    `hessian` is the mean absolute error of the entries: squares would be ruled by the stiffest
    bonds. `hessian_modes` is that of ``Vᵀ H V`` against the eigenvalues, with V the true Hessian's
    softest modes; nothing is differentiated through an eigensolver (Burger et al. 2025).

    Args:
        blocks: Prediction, as it is before any projection.
        targets: True Hessian [3n, 3n] of every structure.
        modes: Their `soft_modes`; none leaves the second loss out.
    """
    predicted = blocks.dense()
    pairs = zip(predicted, targets, strict=True)
    losses = {"hessian": torch.stack([(h - t).abs().mean() for h, t in pairs])}
    if modes:
        within = zip(predicted, modes, strict=True)
        losses["hessian_modes"] = torch.stack([_mode_error(h, m) for h, m in within])
    return losses


def _mode_error(hessian: Tensor, modes: SoftModes) -> Tensor:
    inside = modes.vectors.T @ hessian @ modes.vectors
    return (inside - torch.diag(modes.values)).abs().mean()
