"""Embedding of atomic species, and of the charge of a structure."""

from __future__ import annotations

from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures


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


class ChargeEmbedding(nn.Module):
    """What the total charge of a structure adds to the first features of its atoms.

    ``a_i v_±`` with ``a_i = |q| softplus(x_i · k_±) / Σ_j softplus(x_j · k_±)``: the charge is
    shared out, more of it to the species that take it, with a vector and a key for either sign
    (after Unke et al. 2021, SpookyNet, eq. 10, without its last layers). Nothing is added to what
    is neutral.

    Args:
        channels: Length of a row.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(channels, 2) / sqrt(channels))
        self.values = nn.Parameter(torch.randn(2, channels))

    def forward(
        self, x: Float[Tensor, "N 1 channels"], structures: Structures
    ) -> Float[Tensor, "N 1 channels"]:
        """Return what is added [N, 1, channels].

        Args:
            x: First features of the atoms.
            structures: Whose atoms they are; without a charge, or with NaN, they are neutral.
        """
        charge = structures.system.get("charge")
        if charge is None:
            return torch.zeros_like(x)
        charge = charge.nan_to_num().to(x)
        batch, count = structures.batch, len(structures)
        taken = softplus(x.squeeze(1) @ self.keys)
        shares = taken / scatter_sum(taken, batch, count)[batch]
        both = torch.stack([charge.clamp(min=0), -charge.clamp(max=0)], dim=1)
        return ((shares * both[batch]) @ self.values).unsqueeze(1)


class SpeciesScale(nn.Module):
    """Multiply every channel by a factor of the atom's species, near one at first.

    Args:
        n_species: Number of species.
        irreps: Irreps of the features.
    """

    def __init__(self, n_species: int, irreps: Irreps) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            0.1 * torch.randn(n_species, 1, irrep.channels) for irrep in irreps
        )

    def forward(self, x: Features, index: Int[Tensor, " N"]) -> Features:
        """Return scaled features [N, 2l + 1, channels]."""
        return tuple(part * factor for part, factor in zip(x, self.factors(index), strict=True))

    def factors(self, index: Int[Tensor, " N"]) -> Features:
        """Return the factors [N, 1, channels] of every irrep."""
        return tuple(1 + weight[index] for weight in self.weights)
