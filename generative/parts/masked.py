"""Masked flow of species, charges or bonds: covered at first, uncovered one by one.

Campbell et al., ICML 2024; Gat et al., NeurIPS 2024. At time t an atom's species is known with
probability t. A known species is a one-hot vector, a covered one a vector of zeros. A species that
is covered again now and then can be corrected.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def cover(
    species: Float[Tensor, "B n S"],
    time: Float[Tensor, " B"],
    draw: Float[Tensor, "B n"],
    mask: Bool[Tensor, "B n"],
) -> tuple[Float[Tensor, "B n S"], Bool[Tensor, "B n"]]:
    """Return the species as they are known at `time`, and which atoms are covered.

    Args:
        species: One-hot species [B, n, S].
        time: One time per crystal [B].
        draw: Uniform random numbers [B, n].
        mask: Which places hold an atom [B, n].
    """
    covered = (draw >= time.unsqueeze(1)) & mask
    return species * ~covered.unsqueeze(2), covered


def uncover(
    species: Float[Tensor, "B n S"],
    logits: Float[Tensor, "B n S"],
    chance: float,
    draw: Float[Tensor, "B n one_S"],
) -> Float[Tensor, "B n S"]:
    """Return the species after covered ones have been uncovered with some probability.

    Args:
        species: Species, known or covered [B, n, S].
        logits: What the network says of the covered ones [B, n, S].
        chance: Probability to uncover; dt / (1 - t) in a step from t to t + dt.
        draw: Uniform random numbers: whether, then which [B, n, 1 + S].
    """
    gumbel = -torch.log(-torch.log(draw[..., 1:]))  # the largest sum is a draw from the softmax
    drawn = torch.nn.functional.one_hot((logits + gumbel).argmax(dim=-1), logits.shape[-1])
    now = (draw[..., :1] < chance) & (species.sum(dim=-1, keepdim=True) == 0)
    return torch.where(now, drawn.to(species), species)


def uncover_surest(
    species: Float[Tensor, "B n S"],
    logits: Float[Tensor, "B n S"],
    chance: float,
    draws: tuple[Float[Tensor, " B"], Float[Tensor, "B n one_S"]],
    free: Bool[Tensor, "B n"],
) -> Float[Tensor, "B n S"]:
    """Return the species after those that the network is surest of have been uncovered.

    As many as `uncover` takes on average, so that the others are settled by them (Chang et al.,
    CVPR 2022). They are drawn without replacement, weighted with the probability of what each
    would become.

    Args:
        species: Species, known or covered [B, n, S].
        logits: What the network says of the covered ones [B, n, S].
        chance: Part of the covered ones to uncover.
        draws: Uniform random numbers: whether to round up or down [B], and which ones, then which
            species [B, n, 1 + S].
        free: Which species are not given [B, n].
    """
    up, draw = draws
    gumbel = -torch.log(-torch.log(draw))
    drawn = torch.nn.functional.one_hot((logits + gumbel[..., 1:]).argmax(-1), logits.shape[-1])
    covered = free & (species.sum(dim=-1) == 0)
    sure = (drawn * logits.log_softmax(dim=-1)).sum(dim=-1) + gumbel[..., 0]
    order = torch.where(covered, sure, -torch.inf).argsort(dim=1, descending=True)
    count = (chance * covered.sum(dim=1) + up).floor()
    now = covered & (order.argsort(dim=1) < count.unsqueeze(1))
    return torch.where(now.unsqueeze(2), drawn.to(species), species)


def cover_again(
    species: Float[Tensor, "B n S"],
    chance: float,
    draw: Float[Tensor, "B n"],
    free: Bool[Tensor, "B n"],
) -> Float[Tensor, "B n S"]:
    """Return the species after some of those that are free have been covered again.

    Args:
        species: Species, known or covered [B, n, S].
        chance: Probability to cover a species.
        draw: Uniform random numbers [B, n].
        free: Which species are not given [B, n].
    """
    return species * ~((draw < chance) & free).unsqueeze(2)


def covered_error(
    logits: Float[Tensor, "B n S"],
    species: Float[Tensor, "B n S"],
    covered: Bool[Tensor, "B n"],
    mask: Bool[Tensor, "B n"],
) -> Float[Tensor, " B"]:
    """Return the cross entropy of the covered species, per atom of each crystal [B]."""
    entropy = -(species * logits.log_softmax(dim=-1)).sum(dim=2) * covered
    return entropy.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
