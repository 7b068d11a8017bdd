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
from predictor import read_examples, trained_predictor
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.crystals.matching import PUBLISHED
from matkit.data.pymatgen import to_pymatgen
from matkit.generative.cdvae import CDVAE
from matkit.generative.parts.latent import optimized
from matkit.generative.parts.randomness import Noise
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.structures import Structures

STARTS, POINTS = 100, 10


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
    crystals = _some(read_examples([asked.file], []), asked.limit, asked.seed)
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
    train = read_examples(asked.train, [asked.name])
    test = read_examples([asked.file], [asked.name])
    values = train.system[asked.name].numpy()
    bounds = np.nanpercentile(values, [5, 10, 15])
    predictor = trained_predictor(train, asked.name)
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


def _some(structures: Structures, count: int, seed: int) -> Structures:
    order = np.random.default_rng(seed).permutation(len(structures))
    return structures.index(sorted(order[:count].tolist()))


def _decoded(model: CDVAE, latent: torch.Tensor, asked: argparse.Namespace) -> Structures:
    seeds = torch.arange(len(latent)) + (asked.seed << 32)
    return model.decode(latent, asked.steps, Noise(seeds))


if __name__ == "__main__":
    main()
