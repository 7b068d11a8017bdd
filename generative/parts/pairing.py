"""Which noisy atom becomes which atom of the crystal: the nearest pairs, so that ways are short.

Atoms of a species are alike, and so is their noise: any pairing gives the same crystals, but ways
that cross are harder to learn (Tong et al., TMLR 2024; Klein et al., NeurIPS 2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from matkit.generative.parts.torus import shortest


def nearest_pairs(
    start: Float[Tensor, "B n 3"],
    end: Float[Tensor, "B n 3"],
    species: Float[Tensor, "B n S"],
    mask: Bool[Tensor, "B n"],
) -> Float[Tensor, "B n 3"]:
    """Return the starts in the order that makes the ways of each species shortest [B, n, 3].

    Args:
        start: Fractional coordinates of noise [B, n, 3].
        end: Fractional coordinates of crystals [B, n, 3].
        species: One-hot species [B, n, S].
        mask: Which places hold an atom [B, n].
    """
    ways = shortest(end.unsqueeze(2) - start.unsqueeze(1)).square().sum(dim=3)
    foreign = species @ species.mT < 0.5
    cost = (ways.double() + 10 * mask.shape[1] * foreign).cpu().numpy()
    order = torch.arange(mask.shape[1]).repeat(len(mask), 1)
    for b, n in enumerate(mask.sum(dim=1).tolist()):
        order[b, :n] = torch.from_numpy(linear_sum_assignment(cost[b, :n, :n])[1])
    return start.gather(1, order.to(start.device).unsqueeze(2).expand_as(start))
