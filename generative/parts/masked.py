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
