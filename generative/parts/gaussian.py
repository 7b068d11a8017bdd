"""Diffusion of unbounded fields (lattices, one-hot species) towards the normal distribution.

Ho, Jain & Abbeel, NeurIPS 2020 (DDPM).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def corrupt(
    data: Float[Tensor, "B *any"], noise: Float[Tensor, "B *any"], signal: Float[Tensor, " B"]
) -> Float[Tensor, "B *any"]:
    """Return data with noise (eq. 4), given the share of variance that is left [B]."""
    share = signal.view(-1, *[1] * (data.dim() - 1))
    return share.sqrt() * data + (1 - share).sqrt() * noise


def reverse_step(
    noisy: Float[Tensor, "B *any"],
    predicted: Float[Tensor, "B *any"],
    signals: tuple[Float[Tensor, ""], Float[Tensor, ""]],
    noise: Float[Tensor, "B *any"],
) -> Float[Tensor, "B *any"]:
    """Return the field at an earlier time (eq. 11), which may be several levels away.

    Args:
        noisy: Field at the later time.
        predicted: The noise in it, as predicted.
        signals: Shares of the data's variance at the later and at the earlier time; where the
            latter is 1 nothing random is added.
        noise: Standard normal numbers.
    """
    late, early = signals
    kept = late / early
    mean = (noisy - (1 - kept) / (1 - late).sqrt() * predicted) / kept.sqrt()
    return mean + ((1 - kept) * (1 - early) / (1 - late)).sqrt() * noise
