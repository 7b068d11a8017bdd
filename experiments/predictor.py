"""A network for one property of crystals, trained apart from the generators that it judges."""

from __future__ import annotations

import numpy as np
import torch

from matkit.generative.parts.denoiser import Noisy
from matkit.generative.parts.latent import LatentEncoder, LatentHeads, LatentSize
from matkit.generative.parts.lattice import LatticeUnits, lattice_scale
from matkit.generative.parts.layout import atom_mask, fractional_coordinates, pad
from matkit.options import build
from matkit.structures import Structures
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets

TOGETHER = 256
SIZE = LatentSize(latent=64, width=128, layers=4, harmonics=16)
EPOCHS, BATCH, RATE = 100, 128, 2e-3
SPREAD = 0.02  # least of a number of the lattice, in its logarithm


class Predictor(torch.nn.Module):
    """An encoder of crystals, and a head on its means.

    Args:
        train: Crystals to learn from.
        name: Of the property.
    """

    def __init__(self, train: Structures, name: str) -> None:
        super().__init__()
        values = train.system[name].double().numpy()
        scale = float(np.nanmean(values)), float(np.nanstd(values))
        self.name, self.species = name, train.species.unique()
        self.units = LatticeUnits(*lattice_scale(train.cell, train.n_atoms, SPREAD), scaled=True)
        self.encoder = LatentEncoder(SIZE, len(self.species))
        self.heads = LatentHeads(SIZE, 1, len(self.species), {name: scale})

    def forward(self, structures: Structures) -> torch.Tensor:
        """Return the property in standard deviations."""
        latent, _ = self.encoder(self._clean(structures))
        return self.heads.properties(latent)[self.name]

    def values(self, structures: Structures) -> np.ndarray:
        """Return the property in its unit."""
        with torch.no_grad():
            parts = [
                self.heads.values(self.encoder(self._clean(part))[0])[self.name]
                for part in _batches(structures)
            ]
        return torch.cat(parts).numpy()

    def _clean(self, structures: Structures) -> Noisy:
        mask = atom_mask(structures.n_atoms)
        rows = torch.searchsorted(self.species, structures.species)
        return Noisy(
            pad(torch.nn.functional.one_hot(rows, len(self.species)).float(), mask),
            pad(fractional_coordinates(structures), mask).float(),
            self.units.numbers(structures.cell, structures.n_atoms).float(),
            mask,
        )


def trained_predictor(train: Structures, name: str, epochs: int = EPOCHS) -> Predictor:
    """Return a predictor after a training on all crystals with the property."""
    predictor = Predictor(train, name)
    values = train.system[name].double()
    known = values.isfinite().nonzero().flatten().numpy()
    mean, spread = predictor.heads.scales[name]
    target = ((values - mean) / spread).float()
    steps = epochs * (len(known) // BATCH)
    descent = torch.optim.Adam(predictor.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.choice(known, BATCH, replace=False).tolist()
        error = (predictor(train.index(chosen)) - target[chosen]).abs().mean()
        descent.zero_grad()
        error.backward()
        descent.step()
        falling.step()
    return predictor


def read_examples(files: list[str], properties: list[str]) -> Structures:
    """Return crystals of files, in Niggli-reduced cells."""
    settings = {"train_file": files, "properties": properties, "allow_missing": True}
    options = build(GeneratorOptions, {**settings, "valid_fraction": 0.0})
    return read_generator_sets(options, "crystal").train.structures


def _batches(structures: Structures) -> list[Structures]:
    numbers = range(len(structures))
    starts = range(0, len(structures), TOGETHER)
    return [structures.index(list(numbers[first : first + TOGETHER])) for first in starts]
