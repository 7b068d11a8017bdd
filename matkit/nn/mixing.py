"""What an atom does with the messages it has received: mixers of its features, and their norm."""

from __future__ import annotations

from math import sqrt

import torch
from torch import nn

from matkit.errors import ConfigError
from matkit.nn.activation import smooth_silu
from matkit.nn.equivariant import RMS, Features, Gate, Linear
from matkit.nn.irreps import Irrep, Irreps, format_irreps
from matkit.nn.sphere import Sphere


class GridMixer(nn.Module):
    """Apply one small perceptron at every point of a sphere (Miklaucic et al. 2025).

    Besides the scalars of the result, the layer before delivers M channels of every degree, which
    are M signals on the sphere. Each point's M values go through an activation, a matrix and an
    activation; what comes back is mixed with the activated scalars. The perceptron's first matrix
    is not here: it commutes with the transform and is part of the linear layer before.

    Args:
        irreps_out: Irreps of the result: even scalars, then degrees of natural parity in order.
        channels: Number M of signals.
        points: Points of the grid.

    Raises:
        ConfigError: parities are not natural, a degree is missing, or the grid is too coarse.
    """

    def __init__(self, irreps_out: Irreps, channels: int, points: int) -> None:
        super().__init__()
        kinds = [irrep.kind for irrep in irreps_out]
        natural = [(degree, (-1) ** degree) for degree in range(len(irreps_out))]
        if kinds != natural:
            raise ConfigError(
                "A signal on the sphere has the irreps 0e+1o+2e+... up to its highest degree, got "
                f"{format_irreps(irreps_out)}."
            )
        self.scalars = irreps_out[0].channels
        self.sphere = Sphere(len(irreps_out) - 1, points)
        self.irreps_in: Irreps = (
            Irrep(self.scalars + channels, 0, 1),
            *(Irrep(channels, *kind) for kind in kinds[1:]),
        )
        self.weight = nn.Parameter(torch.randn(channels, channels))
        # What normalises activation and fan-in, multiplied here where there are few numbers.
        self.gain = RMS["silu"] / sqrt(channels)
        self.linear = Linear(self.irreps_in, irreps_out)

    def forward(self, x: Features) -> Features:
        """Return mixed features [N, 2l + 1, channels]."""
        scalars, signal = x[0][..., : self.scalars], x[0][..., self.scalars :]
        values = smooth_silu(self.sphere.synthesis((signal, *x[1:])))
        values = smooth_silu(values @ (self.weight * self.gain))
        mean, *rest = self.sphere.analysis(values)
        rest = [part * RMS["silu"] for part in rest]
        even = torch.cat([smooth_silu(scalars), mean], dim=2) * RMS["silu"]
        return self.linear((even, *rest))


class GateMixer(nn.Module):
    """Activate scalars, multiply the rest by activated scalars, and mix (exact on any parity).

    Args:
        irreps_out: Irreps of the result.
    """

    def __init__(self, irreps_out: Irreps) -> None:
        super().__init__()
        self.gate = Gate(irreps_out)
        self.irreps_in = self.gate.irreps_in
        self.linear = Linear(irreps_out, irreps_out)

    def forward(self, x: Features) -> Features:
        """Return mixed features [N, 2l + 1, channels]."""
        return self.linear(self.gate(x))


class EquivariantNorm(nn.Module):
    """Divide features by their root mean square and scale every channel by a weight of its own.

    Scalars are centred first. All other irreps share one mean square, over channels and components.
    Both are ``x / sqrt(offset + mean square)``. The offset must not be small: features with l > 0
    vanish at sites of high symmetry, and there an offset near zero would turn the smallest
    displacement into features of order one, and the energy surface into a cusp.

    Args:
        irreps: Irreps of the features, even scalars first.
        initial: Initial weight.
        offset: See above.
    """

    def __init__(self, irreps: Irreps, initial: float, offset: float = 1.0) -> None:
        super().__init__()
        self.irreps, self.offset = irreps, offset
        self.numel = sum(irrep.channels * irrep.dim for irrep in irreps[1:])
        self.weights = nn.ParameterList(torch.full((irrep.channels,), initial) for irrep in irreps)

    def forward(self, x: Features) -> Features:
        """Return normalised features [N, 2l + 1, channels]."""
        scalars = x[0] - x[0].mean(dim=2, keepdim=True)
        first = torch.rsqrt(self.offset + scalars.square().mean(dim=2, keepdim=True))
        parts = [scalars * (first * self.weights[0])]
        if self.numel:
            flat = torch.cat([part.flatten(1) for part in x[1:]], dim=1)
            mean_square = flat.square().sum(dim=1, keepdim=True) / self.numel
            # Few numbers first: they are multiplied by those of all components once.
            scale = torch.rsqrt(self.offset + mean_square) * torch.cat(list(self.weights)[1:])
            sizes = [irrep.channels for irrep in self.irreps[1:]]
            rest = zip(x[1:], scale.unsqueeze(1).split(sizes, dim=2), strict=True)
            parts += [part * own for part, own in rest]
        return tuple(parts)
