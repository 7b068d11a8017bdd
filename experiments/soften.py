"""Make the norms of a trained Facet soft again, where features vanish by symmetry.

    python experiments/soften.py RUN OUT --structures FILE [--ratio 10]

A layer's result is normalised, ``x / sqrt(offset + mean square)``, so the scale of the last map
before it does not matter while the mean square is large. Without decay, steps of fixed size let
that scale grow, until the offset is nothing and the energy has a cusp where x vanishes by symmetry,
as at the carbon of methane. This divides these maps (degrees above zero) so that the median mean
square over the first structures is `--ratio` times the offset, where it is more, and multiplies the
norm's weights by what the median atom loses. It writes OUT/model.safetensors. After training
with `--weight-decay 0.03` methane was smooth without it.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from matkit.data.dataset import read_dataset
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.nn.mixing import EquivariantNorm

STRUCTURES = 300


def medians(network: Potential, norms: list[EquivariantNorm], batch: object) -> list[float]:
    """Return the median mean square of what every norm gets, degrees above zero."""
    found: list[float] = []

    def look(norm: EquivariantNorm, inputs: tuple[tuple[Tensor, ...]], _: object) -> None:
        squares = sum(part.square().sum(dim=(1, 2)) for part in inputs[0][1:])
        found.append(float((squares / norm.numel).median()))

    handles = [norm.register_forward_hook(look) for norm in norms]
    with torch.no_grad():
        network(network.featurize(batch))
    for handle in handles:
        handle.remove()
    return found


@torch.no_grad()
def soften(interaction: nn.Module, median: float, ratio: float) -> None:
    """Divide the map before one norm, and scale its weights."""
    norm = interaction.norm
    smaller = sqrt(median / (ratio * norm.offset))
    lost = sqrt(ratio / (1 + ratio)) / sqrt(median / (norm.offset + median))
    for weight in list(interaction.mixer.linear.weights)[1:]:
        weight /= smaller
    for weight in list(norm.weights)[1:]:
        weight /= lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished training run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--structures", required=True, help="file or folder of typical structures")
    parser.add_argument("--ratio", type=float, default=10.0)
    given = parser.parse_args()
    model, metadata = checkpoint.load(given.run / "model.safetensors")
    backbone = getattr(model, "backbone", model)
    layers = [layer for layer in backbone.interactions if layer.norm.numel]
    batch = read_dataset(given.structures).structures.index(range(STRUCTURES))
    found = medians(backbone, [layer.norm for layer in layers], batch)
    for layer, median in zip(layers, found, strict=True):
        if median > given.ratio * layer.norm.offset:
            soften(layer, median, given.ratio)
    given.out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(model, given.out / "model.safetensors", metadata["card"])
    after = medians(backbone, [layer.norm for layer in layers], batch)
    print(f"median mean squares: {found}, now {after}")


if __name__ == "__main__":
    main()
