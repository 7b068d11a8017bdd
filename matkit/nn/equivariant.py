"""Equivariant layers on features stored per irrep.

A feature is a tuple with one tensor [N, 2l + 1, channels] per irrep: channels are contiguous,
so that linear maps are plain matrix products and kernels run along channels.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.nn.irreps import Irrep, Irreps
from matkit.nn.species_rows import species_product

Features = tuple[Tensor, ...]

# e3nn divides an activation by its root mean square under a unit normal, estimated from one
# seeded sample; trained weights presuppose its estimate, not the exact value.
RMS = {"silu": 1.6791767923989418, "tanh": 1.5937334472592695}


def normalized_silu(x: Tensor) -> Tensor:
    """Return silu(x) scaled to unit second moment."""
    return torch.nn.functional.silu(x) * RMS["silu"]


def normalized_tanh(x: Tensor) -> Tensor:
    """Return tanh(x) scaled to unit second moment."""
    return torch.tanh(x) * RMS["tanh"]


class Linear(nn.Module):
    """Mix the channels of each irrep: ``y_l = x_l W_l / sqrt(channels)``.

    Weights are unit normal and the fan-in is divided out in the product (e3nn's
    parametrisation), which learning rates published for this family presuppose.

    Args:
        irreps_in: Irreps of the input.
        irreps_out: Irreps of the output, each of which must occur in the input.
        species: With a number of species, one matrix per species of the atom.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, species: int = 0) -> None:
        super().__init__()
        place = {irrep.kind: i for i, irrep in enumerate(irreps_in)}
        missing = [str(irrep) for irrep in irreps_out if irrep.kind not in place]
        if missing:
            raise ConfigError(
                f"A linear layer cannot make {', '.join(missing)} from "
                f"{'+'.join(map(str, irreps_in))}; add that irrep to the input."
            )
        self.source = [place[irrep.kind] for irrep in irreps_out]
        self.scales = [1 / sqrt(irreps_in[i].channels * max(species, 1)) for i in self.source]
        stack = (species,) if species else ()
        self.weights = nn.ParameterList(
            torch.randn(*stack, irreps_in[i].channels, irrep.channels)
            for i, irrep in zip(self.source, irreps_out, strict=True)
        )

    def forward(self, x: Features, species: Int[Tensor, " N"] | None = None) -> Features:
        """Apply the map; `species` [N] are indices into the stack of matrices."""
        outputs = []
        for source, scale, weight in zip(self.source, self.scales, self.weights, strict=True):
            if species is None:
                outputs.append(x[source] @ (weight * scale))
            else:  # there are more numbers in the stack than in the features
                outputs.append(species_product(x[source] * scale, weight, species))
        return tuple(outputs)


class Gate(nn.Module):
    """Activate scalars and multiply every other channel by an activated scalar of its own.

    Scalars go through silu (even) or tanh (odd), gates through silu; `irreps_in` tells what the
    layer before must deliver: the gates stand behind the even scalars.
    """

    def __init__(self, irreps_out: Irreps) -> None:
        super().__init__()
        if not irreps_out or irreps_out[0].kind != (0, 1):
            raise ConfigError(
                f"Gated features must begin with even scalars (0e), got "
                f"{'+'.join(map(str, irreps_out)) or 'nothing'}."
            )
        self.scalars = irreps_out[0].channels
        self.kinds = [irrep.kind for irrep in irreps_out[1:]]
        self.gates = [irrep.channels for irrep in irreps_out[1:] if irrep.l > 0]
        wide = Irrep(self.scalars + sum(self.gates), 0, 1)
        self.irreps_in: Irreps = (wide, *irreps_out[1:])

    def forward(self, x: Features) -> Features:
        """Return activated features [N, 2l + 1, channels]."""
        even = normalized_silu(x[0])
        scalars, *gates = torch.split(even, [self.scalars, *self.gates], dim=-1)
        gate = iter(gates)
        rest = (
            normalized_tanh(feature) if degree == 0 else feature * next(gate)
            for feature, (degree, _) in zip(x[1:], self.kinds, strict=True)
        )
        return (scalars, *rest)


class ScalarMLP(nn.Module):
    """Bias-free perceptron with silu between layers, in e3nn's normalisation.

    Args:
        widths: Sizes of input, hidden layers and output.
        activate: Whether hidden layers are activated; without, the layers are one linear map.
    """

    def __init__(self, widths: tuple[int, ...], activate: bool = True) -> None:
        super().__init__()
        self.activate = activate
        self.weights = nn.ParameterList(
            torch.randn(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)
        )

    def forward(self, x: Float[Tensor, "*B i"]) -> Float[Tensor, "*B o"]:
        """Map [..., widths[0]] to [..., widths[-1]]."""
        return self.hidden(x) @ self.last

    def hidden(self, x: Float[Tensor, "*B i"]) -> Float[Tensor, "*B h"]:
        """Return what the last, linear layer mixes [..., widths[-2]]."""
        for weight in list(self.weights)[:-1]:
            x = x @ (weight / sqrt(len(weight)))
            x = normalized_silu(x) if self.activate else x
        return x

    @property
    def last(self) -> Tensor:
        """Matrix of the last layer [widths[-2], widths[-1]]."""
        weight = self.weights[-1]
        return weight / sqrt(len(weight))

    @property
    def as_matrix(self) -> Tensor:
        """All layers as one matrix [widths[0], widths[-1]]; right only where none is activated."""
        matrices = (weight / sqrt(len(weight)) for weight in self.weights)
        return reduce(torch.matmul, matrices)
