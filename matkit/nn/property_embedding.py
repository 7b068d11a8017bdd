"""What a network hears about the properties that a structure should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PropertyEmbedding(nn.Module):
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

    def mute(self) -> None:
        """Let properties say nothing, as where a trained network is to learn to be told some."""
        for parameter in self.network[-1].parameters():
            nn.init.zeros_(parameter)
