"""Embeddings of time and of the properties a structure should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import torch
from jaxtyping import Bool, Float
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


def conditional_mask(
    values: Mapping[str, Tensor], withheld: float, noise: Noise
) -> Bool[Tensor, " B"]:
    """Return for which crystals of a training step the network hears of their properties [B].

    Args:
        values: Each property [B]; a crystal of which one is missing (NaN) is never conditional.
        withheld: Part of the others from which the properties are withheld.
        noise: One stream of random numbers per crystal.
    """
    conditional = noise.uniform() >= withheld
    for value in values.values():
        conditional = conditional & value.isfinite()
    return conditional


class PropertyEmbedding(nn.Module):
    """What a network hears about the properties asked for, or that none is.

    Args:
        properties: Mean and standard deviation of each property in the training set.
        channels: Number of features.
    """

    def __init__(self, properties: Mapping[str, Sequence[float]], channels: int) -> None:
        super().__init__()
        self.scales = {name: tuple(scale) for name, scale in sorted(properties.items())}
        if self.scales:
            self.network = nn.Sequential(
                nn.Linear(len(self.scales) + 1, channels), nn.SiLU(), nn.Linear(channels, channels)
            )

    def forward(
        self,
        values: Mapping[str, Tensor],
        conditional: Bool[Tensor, " B"],
        like: Float[Tensor, "B c"],
    ) -> Float[Tensor, "B c"]:
        """Return features to be added to those of time, `like` [B, c].

        Args:
            values: Each property [B], in the unit of the training set.
            conditional: For which crystals [B]; the others are unconditional.
            like: Sets shape, type and device.
        """
        if not self.scales:
            return torch.zeros_like(like)
        flag = conditional.to(like).unsqueeze(1)
        standard = [
            torch.where(conditional, (values[name].to(like) - mean) / std, 0.0)
            if name in values
            else torch.zeros_like(like[:, 0])
            for name, (mean, std) in self.scales.items()
        ]
        return self.network(torch.cat([torch.stack(standard, dim=1), flag], dim=1))


class SeparateProperties(nn.Module):
    """What a network hears about properties each of which may be asked for alone.

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
