"""Noise in the places and the orientation that are nearest to the molecule it becomes.

Atoms that nothing tells apart yet, and rotations, give the same molecules in any order, but ways
that cross are harder to learn (Song et al., NeurIPS 2023, EquiFM; Klein et al., NeurIPS 2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def aligned(
    start: Float[Tensor, "B n 3"],
    end: Float[Tensor, "B n 3"],
    kind: Int[Tensor, "B n"],
    turns: Bool[Tensor, " B"],
    mask: Bool[Tensor, "B n"],
) -> Float[Tensor, "B n 3"]:
    """Return noise in the order, then in the orientation, that makes the ways shortest [B, n, 3].

    Args:
        start: Noise, centred where it may be turned [B, n, 3].
        end: Molecules [B, n, 3].
        kind: Atoms of different kinds are not exchanged [B, n].
        turns: Which molecules have no orientation of their own [B].
        mask: Which places hold an atom [B, n].
    """
    ordered = permuted(start, end, kind, mask)
    turned = ordered @ rotations(ordered, end)
    return torch.where(turns.view(-1, 1, 1), turned, ordered)


def permuted(
    start: Float[Tensor, "B n 3"],
    end: Float[Tensor, "B n 3"],
    kind: Int[Tensor, "B n"],
    mask: Bool[Tensor, "B n"],
) -> Float[Tensor, "B n 3"]:
    """Return the starts in the order that makes the sum of squared ways smallest."""
    ways = torch.cdist(end, start).square()
    foreign = kind.unsqueeze(2) != kind.unsqueeze(1)
    # Dearer than all ways of the molecule together.
    dear = 1 + ways.amax(dim=(1, 2), keepdim=True) * mask.shape[1]
    cost = (ways + dear * foreign).double().cpu().numpy()
    order = torch.arange(mask.shape[1]).repeat(len(mask), 1)
    for b, n in enumerate(mask.sum(dim=1).tolist()):
        order[b, :n] = torch.from_numpy(linear_sum_assignment(cost[b, :n, :n])[1])
    return start.gather(1, order.to(start.device).unsqueeze(2).expand_as(start))


def rotations(start: Float[Tensor, "B n 3"], end: Float[Tensor, "B n 3"]) -> Float[Tensor, "B 3 3"]:
    """Return the proper rotation of rows that brings start nearest to end (Kabsch 1976)."""
    u, _, v = torch.linalg.svd(start.mT @ end)
    hand = torch.linalg.det(u @ v).sign()
    last = torch.stack([torch.ones_like(hand), torch.ones_like(hand), hand], dim=1)
    return (u * last.unsqueeze(1)) @ v


def centred(
    positions: Float[Tensor, "B n 3"], weights: Bool[Tensor, "B n"], mask: Bool[Tensor, "B n"]
) -> Float[Tensor, "B n 3"]:
    """Return positions relative to the centre of some of the atoms, zero where there is none."""
    share = weights.to(positions) / weights.sum(dim=1, keepdim=True)
    center = torch.einsum("bn,bnx->bx", share, positions)
    return (positions - center.unsqueeze(1)) * mask.unsqueeze(2)
