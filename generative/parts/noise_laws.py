"""Noise laws of diffusion: Gaussian, or the heavier tails of PFGM++ with D more dimensions.

Xu et al., ICML 2023 (PFGM++): the kernel ``(|x - y|^2 + r^2)^(-(N + D) / 2)`` with ``r = sigma
sqrt(D)``. Its direction is that of Gaussian noise; its square radius is ``r^2 B / (1 - B)`` with
``B ~ Beta(N / 2, D / 2)``, which for D without bound is that of Gaussian noise again.
"""

from __future__ import annotations

from math import inf

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv, gammainc
from torch import Tensor

from matkit.errors import ConfigError


def law_noise(
    normal: Float[Tensor, "B k c"],
    mask: Bool[Tensor, "B k"],
    dimensions: Int[Tensor, " B"],
    extra: float,
) -> Float[Tensor, "B k c"]:
    """Return noise of unit scale, zero where nothing is.

    The radius is the quantile of the law where that of the Gaussian noise is a quantile of its
    own, so that noise of the same seed changes continuously with the law.

    Args:
        normal: Gaussian noise, perhaps of a subspace such as that without the mean.
        mask: Which rows there are.
        dimensions: Dimension N of the noise of each molecule [B].
        extra: D; infinite for Gaussian noise.

    Raises:
        ConfigError: D is not positive.
    """
    if not extra > 0:
        raise ConfigError(f"Expected more than 0 extra dimensions, inf for Gaussian; got {extra}.")
    drawn = normal * mask.unsqueeze(2)
    if extra == inf:
        return drawn
    square = drawn.double().square().sum(dim=(1, 2))
    n = dimensions.double().clamp(min=1).cpu().numpy() / 2
    share = gammainc(n, square.cpu().numpy() / 2)
    beta = torch.from_numpy(betaincinv(n, extra / 2, share)).to(square)
    radius = (extra * beta / (1 - beta)).sqrt()
    factor = torch.where(square > 0, radius / square.sqrt(), 1.0)
    return drawn * factor.to(drawn).view(-1, 1, 1)
