"""Through all layers of a trained network, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import EdgeData, FrozenLayer, Tape, Workspace


class Passed(NamedTuple):
    """What the way through a network and back gives.

    Attributes:
        energy: Atomic energies [N].
        scalars: Even scalars of the last layer [N, channels].
        lengths: Derivative of the energy by the lengths [E].
        harmonics: The same by the harmonics [E, (lmax + 1)²].
    """

    energy: Tensor
    scalars: Tensor
    lengths: Tensor
    harmonics: Tensor


# From the last scalars [N, channels] to atomic energies and the derivative of their sum by the
# scalars [N, 1, channels].
LastStep = Callable[[Tensor], tuple[Tensor, Tensor]]


def passes(layers: Sequence[FrozenLayer], x: Features, data: EdgeData, last: LastStep) -> Passed:
    """Go through all layers and back."""
    scalars, tapes = run(layers, x, data)
    energy, g = last(scalars)
    return Passed(energy, scalars, *reverse(layers, tapes, g, data))


def run(layers: Sequence[FrozenLayer], x: Features, data: EdgeData) -> tuple[Tensor, list[Tape]]:
    """Return the even scalars of the last layer [N, channels] and the tapes of all layers."""
    tapes = []
    for layer in layers:
        x, tape = layer.forward(x, data)
        tapes.append(tape)
    return x[0].squeeze(1), tapes


def reverse(
    layers: Sequence[FrozenLayer], tapes: Sequence[Tape], g: Tensor, data: EdgeData
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of the energy by lengths [E] and harmonics [E, (lmax + 1)²].

    Args:
        layers: As in `run`.
        tapes: From `run`.
        g: Derivative by the scalars of the last layer [N, 1, channels].
        data: As in `run`.
    """
    by_lengths = torch.zeros_like(data.lengths)
    by_harmonics = torch.zeros_like(data.harmonics)
    space: Workspace = {}
    x: Features = (g,)
    for t in range(len(layers) - 1, -1, -1):
        x, harmonics, lengths = layers[t].backward(x, tapes[t], data, space, first=t == 0)
        by_harmonics += harmonics
        by_lengths += lengths
    return by_lengths, by_harmonics
