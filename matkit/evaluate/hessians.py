"""Predicted Hessians beside those of a data set."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.derivatives import ForceField
from matkit.evaluator import batches
from matkit.structures import Structures


@torch.no_grad()
def hessian_differences(
    model: ForceField, structures: Structures
) -> Float[Tensor, "N S 3 3"] | None:
    """Return prediction minus label of the Hessian, eV/Å², float64, on the CPU.

    They are the blocks of every atom with those of its structure, of which the largest has S; NaN
    beyond the last of them and where there is no label.

    Args:
        model: Potential, on any device.
        structures: Structures with ``atom["hessian"]`` (`matkit.train.hessian_targets`).

    Returns:
        None if no structure has such a label or the model predicts no Hessians.
    """
    if "hessian" not in structures.atom or model.hessian_cutoff is None:
        return None
    labels = structures.atom["hessian"].double()
    found = torch.full_like(labels, torch.nan)
    offsets = structures.offsets.tolist()
    device = next(model.parameters()).device
    for which in batches(structures):
        blocks = model.hessian_blocks(model.featurize(structures.index(which)).to(device))
        assert blocks is not None, "it has a cutoff of Hessians"
        for i, matrix in zip(which, blocks.dense(), strict=True):
            rows, n = slice(offsets[i], offsets[i + 1]), len(matrix) // 3
            predicted = matrix.double().cpu().view(n, 3, n, 3).transpose(1, 2)
            found[rows, :n] = predicted - labels[rows, :n]
    return found
