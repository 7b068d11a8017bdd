"""Noise levels as functions of time; index 0 is the data and index T the prior."""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.errors import ConfigError

OFFSET = 0.008  # of the cosine schedule, so that the first noise is not too small


def cosine_signal(steps: int) -> Float[Tensor, " T_plus_1"]:
    """Return the share of the data's variance left [T + 1], from 1 to nearly 0.

    Nichol & Dhariwal, ICML 2021, eq. 17, with the noise of a step kept between 1e-4 and 0.9999.
    """
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    share = torch.cos((time + OFFSET) / (1 + OFFSET) * pi / 2).square()
    added = (1 - share[1:] / share[:-1]).clamp(1e-4, 0.9999)
    return torch.nn.functional.pad(torch.cumprod(1 - added, 0), (1, 0), value=1.0)


def geometric_sigma(smallest: float, largest: float, steps: int) -> Float[Tensor, " T_plus_1"]:
    """Return standard deviations [T + 1]: 0, then a geometric row from smallest to largest."""
    time = torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.nn.functional.pad(smallest * (largest / smallest) ** time, (1, 0))


def time_grid(trained: int, steps: int) -> Int[Tensor, " S_plus_1"]:
    """Return the times at which to call a network trained on `trained` levels, down to 0.

    Raises:
        ConfigError: no step was asked for, or more than there are levels.
    """
    if not 1 <= steps <= trained:
        raise ConfigError(
            f"Expected 1 to {trained} sampling steps, as many as there are noise levels; got "
            f"{steps}. Ask for fewer."
        )
    return torch.linspace(trained, 0, steps + 1, dtype=torch.float64).round().long()
