"""Preconditioning, noise levels and Heun's sampler of EDM.

Karras, Aittala, Aila & Laine, NeurIPS 2022, table 1 and algorithm 1, without churn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

RHO = 7.0
# A state is a list of fields, each [B, ...].
State = list[Tensor]


class Preconditioning(NamedTuple):
    """Factors at some noise levels [B, 1, 1], for data of a standard deviation.

    Attributes:
        skip: Of the noisy data in what is predicted.
        out: Of the network's output.
        into: Of the noisy data for the network.
        weight: Of the square error.
    """

    skip: Tensor
    out: Tensor
    into: Tensor
    weight: Tensor


def preconditioning(sigma: Float[Tensor, " B"], data: float) -> Preconditioning:
    """Return the factors at noise levels, for data of the standard deviation `data`."""
    s = sigma.view(-1, 1, 1)
    total = s.square() + data**2
    return Preconditioning(
        data**2 / total, s * data / total.sqrt(), 1 / total.sqrt(), total / (s * data).square()
    )


def noise_levels(smallest: float, largest: float, steps: int) -> Float[Tensor, " steps_plus_1"]:
    """Return falling noise levels, the last of which is zero (eq. 5)."""
    ends = largest ** (1 / RHO), smallest ** (1 / RHO)
    levels = torch.linspace(ends[0], ends[1], steps, dtype=torch.float64) ** RHO
    return torch.nn.functional.pad(levels, (0, 1))


def heun(state: State, levels: Sequence[float], denoise: Callable[[State, float], State]) -> State:
    """Return the end of the probability flow ``dx / dsigma = (x - D(x, sigma)) / sigma``.

    Args:
        state: Fields at the first level.
        levels: Falling noise levels; the last one may be zero.
        denoise: The denoiser D at a level.
    """
    for now, then in pairwise(levels):
        slope = _slope(state, denoise(state, now), now)
        end = _moved(state, slope, then - now)
        if then > 0:
            corrected = _slope(end, denoise(end, then), then)
            mean = [(a + b) / 2 for a, b in zip(slope, corrected, strict=True)]
            end = _moved(state, mean, then - now)
        state = end
    return state


def _slope(state: State, clean: State, sigma: float) -> State:
    return [(x - d) / sigma for x, d in zip(state, clean, strict=True)]


def _moved(state: State, slope: State, step: float) -> State:
    return [x + step * v for x, v in zip(state, slope, strict=True)]
