"""Embedding of atomic species."""

from __future__ import annotations

from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class SpeciesIndex(nn.Module):
    """Map atomic numbers to their place in the model's list of species.

    Args:
        species: Atomic numbers in the model's order.
    """

    table: Tensor

    def __init__(self, species: tuple[int, ...]) -> None:
        super().__init__()
        table = torch.full((max(species) + 1,), -1, dtype=torch.long)
        table[list(species)] = torch.arange(len(species))
        self.register_buffer("table", table, persistent=False)

    def forward(self, species: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
        """Return indices [N]; `Potential.check_species` has refused unknown elements before."""
        return self.table[species]


class SpeciesEmbedding(nn.Module):
    """One trainable row per species, in e3nn's normalisation of a linear map of one-hot vectors.

    Args:
        n_species: Number of species.
        channels: Length of a row.
    """

    def __init__(self, n_species: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_species, channels))

    def forward(self, index: Int[Tensor, " N"]) -> Float[Tensor, "N 1 channels"]:
        """Return even scalars [N, 1, channels]."""
        return (self.weight / sqrt(len(self.weight)))[index].unsqueeze(1)
