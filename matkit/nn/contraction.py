"""The symmetric contraction of MACE: polynomials in the features of one atom."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps, format_irreps
from matkit.nn.kernels.contraction import autograd, reference
from matkit.nn.kernels.contraction.layout import ContractionLayout, polynomials
from matkit.nn.kernels.launch import SCALARS

HIGHEST_ORDER = 3


class SymmetricContraction(nn.Module):
    """Couple up to three copies of every channel's features to the wanted irreps.

    ``B_M = sum over orders and paths p of w_zp sum over i, j, k of U_Mp,ijk A_i A_j A_k`` for every
    channel of an atom of species z (Batatia et al. 2022, https://arxiv.org/abs/2206.07697, eqs. 10
    and 11). Weights begin normal, divided by the number of paths of their order.

    Args:
        irreps_in: Irreps of the input, all with the same number of channels.
        irreps_out: Irreps of the output, with that number of channels too.
        correlation: Highest order, 1 to 3.
        n_species: Number of species.

    Attributes:
        weights: Of every output irrep and order, the highest first [species, paths, channels].

    Raises:
        ConfigError: channels differ, there is no such order, or an irrep is out of reach.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, correlation: int, n_species: int
    ) -> None:
        super().__init__()
        if not 1 <= correlation <= HIGHEST_ORDER:
            raise ConfigError(f"Expected a correlation of 1 to {HIGHEST_ORDER}, got {correlation}.")
        if len({irrep.channels for irrep in irreps_in + irreps_out}) != 1:
            raise ConfigError(
                f"A symmetric contraction acts channel by channel: expected as many channels for "
                f"all irreps, got {format_irreps(irreps_in)} and {format_irreps(irreps_out)}."
            )
        self.layout = ContractionLayout(
            tuple(irrep.kind for irrep in irreps_in),
            tuple(irrep.kind for irrep in irreps_out),
            correlation,
            irreps_in[0].channels,
        )
        self.weights = nn.ModuleList()
        for irrep, (counts, *_) in zip(irreps_out, polynomials(self.layout), strict=True):
            if not sum(counts):
                raise ConfigError(
                    f"No product of up to {correlation} factors {format_irreps(irreps_in)} "
                    f"contains {irrep}: raise the degrees or the correlation, or leave it out."
                )
            shapes = [(n_species, count, irrep.channels) for count in counts]
            rows = (torch.randn(shape) / max(shape[1], 1) for shape in shapes)
            self.weights.append(nn.ParameterList(rows))

    def forward(self, x: Features, index: Int[Tensor, " N"]) -> Features:
        """Return the contracted features [N, 2l + 1, channels] of every output irrep.

        Args:
            x: Features per irrep [N, 2l + 1, channels].
            index: Index of each atom's species [N].
        """
        contract = autograd.contract if can_compile(x[0]) else reference.contract
        return contract(self.layout, x, self.path_weights(), index)

    def path_weights(self, species: slice = slice(None)) -> tuple[Tensor, ...]:
        """Return the weights of all paths to every output irrep [species, paths, channels]."""
        return tuple(
            torch.cat([weight[species] for weight in rows.parameters()], dim=1)
            for rows in self.weights
        )


def can_compile(x: Tensor) -> bool:
    """Return whether there are kernels for features of this type and on this device."""
    return (
        x.device.type == "cpu"
        and x.dtype in SCALARS
        # torch.func transforms see through plain torch only.
        and not torch._C._are_functorch_transforms_active()
    )
