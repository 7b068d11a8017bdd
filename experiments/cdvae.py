"""Reconstruct crystals with a CDVAE, or start from them to search for a property.

    python experiments/cdvae.py MODEL reconstruct perov_5/test.parquet --limit 1000
    python experiments/cdvae.py MODEL optimize perov_5/test.parquet --train perov_5/train.parquet \\
      --property heat_ref

Reconstruction: each crystal is encoded, and its vector decoded; a match is one by StructureMatcher
with the tolerances of the paper. Search: as in the paper, 100 crystals of the file are encoded,
descend along what the model predicts, and are decoded at ten points on the way. A success is a
crystal whose property is within the lowest 5, 10 or 15 % of the training set by a network that is
trained apart, here, on the training set; so is the share of starts of which one of ten succeeds
(the paper's success rate), beside that of the same starts reconstructed.
"""

from __future__ import annotations

import argparse
import json
from math import inf

import numpy as np
import torch
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.crystals.matching import PUBLISHED
from matkit.data.pymatgen import to_pymatgen
from matkit.generative.cdvae import CDVAE
from matkit.generative.parts.latent import LatentEncoder, LatentHeads, LatentSize, optimized
from matkit.generative.parts.randomness import Noise
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build
from matkit.structures import Structures
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets

STARTS, POINTS, TOGETHER = 100, 10, 256
# The network that is trained apart, and how.
SIZE = LatentSize(latent=64, width=128, layers=4, harmonics=16)
EPOCHS, BATCH, RATE = 100, 128, 2e-3


class Predictor(torch.nn.Module):
    """A network for one property of crystals: an encoder, and a head on its means."""

    def __init__(self, model: CDVAE, name: str, scale: tuple[float, float]) -> None:
        super().__init__()
        self.name, self.clean = name, model.clean
        self.encoder = LatentEncoder(SIZE, len(model.species))
        self.heads = LatentHeads(SIZE, model.max_atoms, len(model.species), {name: scale})

    def forward(self, structures: Structures) -> torch.Tensor:
        """Return the property in standard deviations."""
        latent, _ = self.encoder(self.clean(structures))
        return self.heads.properties(latent)[self.name]

    def values(self, structures: Structures) -> np.ndarray:
        """Return the property in its unit."""
        with torch.no_grad():
            parts = [
                self.heads.values(self.encoder(self.clean(part))[0])[self.name]
                for part in _batches(structures)
            ]
        return torch.cat(parts).numpy()


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task", choices=["reconstruct", "optimize"])
    parser.add_argument("file")
    parser.add_argument("--train", nargs="+", help="structures with the property")
    parser.add_argument("--property", dest="name")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    model, _ = checkpoint.load(asked.model, Generator)
    assert isinstance(model, CDVAE)
    asked.steps = asked.steps or model.steps
    torch.manual_seed(asked.seed)
    task = reconstruction if asked.task == "reconstruct" else search
    print(json.dumps(task(model.eval(), asked), indent=1))


def reconstruction(model: CDVAE, asked: argparse.Namespace) -> dict[str, float]:
    """Return how many crystals come back from their vectors."""
    crystals = _some(_read([asked.file], []), asked.limit, asked.seed)
    matcher = StructureMatcher(
        stol=PUBLISHED.stol, ltol=PUBLISHED.ltol, angle_tol=PUBLISHED.angle_tol
    )
    made = _decoded(model, model.encode(crystals), asked)
    pairs = zip(to_pymatgen(made), to_pymatgen(crystals), strict=True)
    found = [matcher.get_rms_dist(ours, theirs) for ours, theirs in pairs]
    match = [rms[0] for rms in found if rms is not None]
    right = [
        bool(torch.equal(a.species.sort().values, b.species.sort().values))
        for a, b in zip(made.split(), crystals.split(), strict=True)
    ]
    return {
        "crystals": len(crystals),
        "matched": len(match) / len(crystals),
        "rmse": float(np.mean(match)) if match else inf,
        "right_composition": float(np.mean(right)),
        "volume_error": float((made.volume / crystals.volume - 1).abs().mean()),
    }


def search(model: CDVAE, asked: argparse.Namespace) -> dict[str, object]:
    """Return how many starts lead to crystals with low values of a property."""
    train, test = _read(asked.train, [asked.name]), _read([asked.file], [asked.name])
    values = train.system[asked.name].numpy()
    bounds = np.nanpercentile(values, [5, 10, 15])
    predictor = _trained(Predictor(model, asked.name, _scale(values)), train, values)
    error = np.abs(predictor.values(test) - test.system[asked.name].numpy())
    start = model.encode(_some(test, STARTS, asked.seed))
    goal = {asked.name: torch.full((len(start),), -inf)}
    steps, rate = model.descent
    best = np.full(len(start), inf)
    shares = {}
    for point in range(POINTS + 1):
        latent = optimized(start, model.heads, goal, point * steps // POINTS, rate)
        found = predictor.values(_decoded(model, latent, asked))
        shares[point] = [float((found <= bound).mean()) for bound in bounds]
        best = np.minimum(best, found) if point else best
    return {
        "predictor_mae": float(np.nanmean(error)),
        "bounds": bounds.tolist(),
        "success_of_best": [float((best <= bound).mean()) for bound in bounds],
        "share_at_point": shares,
    }


def _trained(predictor: Predictor, train: Structures, values: np.ndarray) -> Predictor:
    """Return the predictor after a training on all crystals with the property."""
    known = np.flatnonzero(np.isfinite(values))
    target = torch.from_numpy((values - _scale(values)[0]) / _scale(values)[1]).float()
    steps = EPOCHS * (len(known) // BATCH)
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


def _scale(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanmean(values)), float(np.nanstd(values))


def _read(files: list[str], properties: list[str]) -> Structures:
    """Return crystals of files, in Niggli-reduced cells."""
    settings = {"train_file": files, "properties": properties, "allow_missing": True}
    options = build(GeneratorOptions, {**settings, "valid_fraction": 0.0})
    return read_generator_sets(options, "crystal").train.structures


def _some(structures: Structures, count: int, seed: int) -> Structures:
    order = np.random.default_rng(seed).permutation(len(structures))
    return structures.index(sorted(order[:count].tolist()))


def _batches(structures: Structures) -> list[Structures]:
    starts = range(0, len(structures), TOGETHER)
    numbers = range(len(structures))
    return [structures.index(list(numbers[first : first + TOGETHER])) for first in starts]


def _decoded(model: CDVAE, latent: torch.Tensor, asked: argparse.Namespace) -> Structures:
    seeds = torch.arange(len(latent)) + (asked.seed << 32)
    return model.decode(latent, asked.steps, Noise(seeds))


if __name__ == "__main__":
    main()
