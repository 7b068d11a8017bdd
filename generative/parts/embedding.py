"""What a network hears of time, and of the properties a structure should have."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.generative.parts.randomness import Noise

SCALE = 1000  # so that a difference of a thousandth in time is seen
LONGEST = 10000


def embed_time(time: Float[Tensor, " B"], channels: int) -> Float[Tensor, "B channels"]:
    """Return sines and cosines of 1000 t at geometric frequencies [B, channels].

    Args:
        time: Times between 0 and 1 [B].
        channels: Number of features, even and at least 4.
    """
    half = channels // 2
    frequency = torch.exp(torch.arange(half).to(time) * (-log(LONGEST) / (half - 1)))
    angle = SCALE * time.unsqueeze(1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def withhold(
    values: Mapping[str, Float[Tensor, " B"]], share: float, noise: Noise
) -> dict[str, Float[Tensor, " B"]]:
    """Return properties as a network hears of them in a training step, NaN where it does not.

    Args:
        values: Each property [B]; NaN where a structure has none.
        share: Part of the structures from which a property is withheld, each by itself.
        noise: One stream of random numbers per structure.
    """
    draws = noise.uniform(len(values)).unbind(dim=1)
    return {
        name: torch.where(draw < share, torch.nan, value.double())
        for (name, value), draw in zip(values.items(), draws, strict=True)
    }
