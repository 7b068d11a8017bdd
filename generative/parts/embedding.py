"""Embeddings of time and of the properties a structure should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    return {
        name: torch.where(noise.uniform() < share, torch.nan, value.double())
        for name, value in values.items()
    }


class PropertyEmbedding(nn.Module):
    """What a network hears about properties each of which may be asked for alone.

    It begins with nothing, so that a trained network can learn to be told properties.

    Args:
        properties: Mean and standard deviation of each property in the training set.
        channels: Number of features.
    """

    def __init__(self, properties: Mapping[str, Sequence[float]], channels: int) -> None:
        super().__init__()
        self.scales = {name: tuple(scale) for name, scale in sorted(properties.items())}
        self.channels = channels
        if self.scales:
            self.network = nn.Sequential(
                nn.Linear(2 * len(self.scales), channels), nn.SiLU(), nn.Linear(channels, channels)
            )
            for parameter in self.network[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, values: Mapping[str, Tensor], like: Float[Tensor, " B"]
    ) -> Float[Tensor, "B channels"]:
        """Return features, zero where there is no property to be told.

        Args:
            values: Some of the properties, each [B], in the unit of the training set; NaN where a
                structure is free.
            like: Sets number, type and device.
        """
        if not self.scales:
            return like.new_zeros(len(like), self.channels)
        told = []
        for name, (mean, std) in self.scales.items():
            value = values.get(name, torch.full_like(like, torch.nan)).to(like)
            known = value.isfinite()
            told += [torch.where(known, (value - mean) / std, 0.0), known.to(like)]
        return self.network(torch.stack(told, dim=1))
