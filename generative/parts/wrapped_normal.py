"""Diffusion of fractional coordinates: the normal distribution wrapped around the unit interval.

Jing et al., NeurIPS 2022; Jiao et al., NeurIPS 2023 (DiffCSP), eqs. 5-6.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

IMAGES = 10  # on either side
POINTS = 256  # of the quadrature
REACH = 20  # standard deviations that the quadrature spans


def score(
    displacement: Float[Tensor, "*#any"], sigma: Float[Tensor, "*#any"]
) -> Float[Tensor, "*any"]:
    """Return the derivative of the log-density at `displacement` from the mean.

    The weights of the images are a softmax: a quotient of sums of exponentials would be 0/0 in
    single precision for narrow distributions.

    Args:
        displacement: Displacements in units of the period, of any size.
        sigma: Standard deviations before wrapping, of a shape that broadcasts.
    """
    near = displacement - displacement.round()
    images = near.unsqueeze(-1) + torch.arange(-IMAGES, IMAGES + 1).to(near)
    width = sigma.unsqueeze(-1)
    share = torch.softmax(-0.5 * (images / width).square(), dim=-1)
    return -(share * images).sum(dim=-1) / sigma.square()


def mean_square_score(sigma: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """Return the expectation of the squared score for every standard deviation [T].

    By the trapezoidal rule, which converges exponentially for periodic and for normal functions;
    it is the same in every run, unlike an average over random draws.
    """
    sigma = sigma.double().unsqueeze(1)
    span = (REACH * sigma).clamp(max=1.0)
    grid = ((torch.arange(POINTS) + 0.5) / POINTS - 0.5).to(sigma) * span
    images = grid.unsqueeze(-1) + torch.arange(-IMAGES, IMAGES + 1).to(sigma)
    density = torch.exp(-0.5 * (images / sigma.unsqueeze(-1)).square()).sum(dim=-1)
    square = score(grid, sigma).square()
    return (density * square).sum(dim=1) / density.sum(dim=1)


def level_norms(sigmas: Float[Tensor, " T_plus_1"]) -> Float[Tensor, " T_plus_1"]:
    """Return the root mean square scores of noise levels [T + 1].

    Args:
        sigmas: Standard deviations; the first one is 0, that of the data itself, where no score is
            asked for.
    """
    norms = mean_square_score(sigmas[1:]).sqrt()
    return torch.cat([norms[:1], norms])


def langevin_step(
    fractional: Float[Tensor, "B n 3"],
    slope: Float[Tensor, "B n 3"],
    size: Float[Tensor, ""],
    noise: Float[Tensor, "B n 3"],
) -> Float[Tensor, "B n 3"]:
    """Return coordinates after one step of Langevin dynamics along the score (corrector)."""
    return fractional + size * slope + (2 * size).sqrt() * noise


def reverse_step(
    fractional: Float[Tensor, "B n 3"],
    slope: Float[Tensor, "B n 3"],
    sigmas: tuple[Float[Tensor, ""], Float[Tensor, ""]],
    noise: Float[Tensor, "B n 3"],
) -> Float[Tensor, "B n 3"]:
    """Return coordinates at the lower of two noise levels (ancestral predictor).

    Song et al., ICLR 2021, eq. 46: exact for small steps; without noise where the lower level
    is 0.

    Args:
        fractional: Fractional coordinates at the higher level [B, n, 3].
        slope: Score there [B, n, 3].
        sigmas: Higher and lower standard deviation.
        noise: Standard normal numbers [B, n, 3].
    """
    high, low = sigmas[0].square(), sigmas[1].square()
    removed = high - low
    return fractional + removed * slope + (low * removed / high).sqrt() * noise
