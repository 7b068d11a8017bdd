"""Radial bases and cutoff functions of the edge length."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BesselBasis(nn.Module):
    """Spherical Bessel functions ``b_n(r) = (2 / rc) sin(k_n r) / r`` (Gasteiger et al. 2020).

    Args:
        cutoff: Radius rc in Å.
        size: Number of functions.
    """

    def __init__(self, cutoff: float, size: int = 8) -> None:
        super().__init__()
        self.prefactor = 2 / cutoff
        self.frequencies = nn.Parameter(torch.arange(1, size + 1) * (math.pi / cutoff))

    def forward(self, lengths: Float[Tensor, " E"]) -> Float[Tensor, "E basis"]:
        """Return the basis [E, size] in the precision of `lengths` (Å); finite at zero."""
        k = self.frequencies.to(lengths.dtype)
        # sinc keeps value and derivatives finite where two atoms coincide.
        return self.prefactor * k * torch.sinc(lengths.unsqueeze(1) * (k / math.pi))


class GaussianBasis(nn.Module):
    """Gaussians at equal distances, as wide as these (Schütt et al. 2017).

    Args:
        cutoff: Centre of the last one, Å; that of the first is zero.
        size: Number of functions, at least two.
    """

    centers: Tensor

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(0, cutoff, size), persistent=False)
        self.width = cutoff / (size - 1)

    def forward(self, lengths: Float[Tensor, " E"]) -> Float[Tensor, "E basis"]:
        """Return the basis [E, size] in the precision of `lengths` (Å)."""
        away = (lengths.unsqueeze(1) - self.centers.to(lengths)) / self.width
        return torch.exp(-away.square() / 2)


def polynomial_envelope(
    lengths: Float[Tensor, " E"], cutoff: float | Float[Tensor, " E"], power: int = 6
) -> Float[Tensor, " E"]:
    """Return the smooth cutoff of Gasteiger et al. 2020, eq. 8, zero from `cutoff` on.

    Value, first and second derivative vanish at the cutoff.
    """
    x = lengths / cutoff
    p = power
    inside = (
        1
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    return torch.where(x < 1, inside, 0.0)


def xplor_envelope(
    lengths: Float[Tensor, " E"], cutoff: float, onset: float
) -> Float[Tensor, " E"]:
    """Return the XPLOR switching function: one up to `onset`, zero from `cutoff` on.

    Only the first derivative is continuous at onset and cutoff, so Hessians jump there.
    """
    r2, on2, cut2 = lengths**2, onset**2, cutoff**2
    switching = (cut2 - r2) ** 2 * (cut2 + 2 * r2 - 3 * on2) / (cut2 - on2) ** 3
    return torch.where(lengths < onset, 1.0, torch.where(lengths < cutoff, switching, 0.0))
