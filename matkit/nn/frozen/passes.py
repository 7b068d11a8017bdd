"""Through all layers of a trained network, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import EdgeData, FrozenLayer, Tape, Workspace, present


class Passed(NamedTuple):
    """What the way through a network and back gives.

    Attributes:
        energy: Atomic energies [N].
        scalars: Even scalars of every layer [N, channels].
        lengths: Derivative of the energy by the lengths [E].
        harmonics: The same by the harmonics [E, (lmax + 1)²].
    """

    energy: Tensor
    scalars: list[Tensor]
    lengths: Tensor
    harmonics: Tensor


# Derivatives by the scalars of every layer [N, 1, channels], None for zero but in the last place.
LayerGradients = Sequence[Tensor | None]
# From the scalars of every layer [N, channels] to atomic energies and the derivatives of their sum.
LastStep = Callable[[Sequence[Tensor]], tuple[Tensor, LayerGradients]]


def passes(layers: Sequence[FrozenLayer], x: Features, data: EdgeData, last: LastStep) -> Passed:
    """Go through all layers and back."""
    scalars, tapes = run(layers, x, data)
    energy, g = last(scalars)
    return Passed(energy, scalars, *reverse(layers, tapes, g, data))


def run(
    layers: Sequence[FrozenLayer], x: Features, data: EdgeData
) -> tuple[list[Tensor], list[Tape]]:
    """Return the even scalars [N, channels] and the tapes of all layers."""
    scalars, tapes = [], []
    for layer in layers:
        x, tape = layer.forward(x, data)
        scalars.append(x[0].squeeze(1))
        tapes.append(tape)
    return scalars, tapes


def reverse(
    layers: Sequence[FrozenLayer],
    tapes: Sequence[Tape],
    g: LayerGradients,
    data: EdgeData,
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of the energy by lengths [E] and harmonics [E, (lmax + 1)²].

    Args:
        layers: As in `run`.
        tapes: From `run`.
        g: Derivatives by the scalars of every layer.
        data: As in `run`.
    """
    by_lengths = torch.zeros_like(data.lengths)
    by_harmonics = torch.zeros_like(data.harmonics)
    space: Workspace = {}
    x: Features = (present(g[-1]),)
    for t in range(len(layers) - 1, -1, -1):
        if t < len(layers) - 1 and (own := g[t]) is not None:
            x = (x[0] + own, *x[1:])
        x, harmonics, lengths = layers[t].backward(x, tapes[t], data, space, first=t == 0)
        by_harmonics += harmonics
        by_lengths += lengths
    return by_lengths, by_harmonics
