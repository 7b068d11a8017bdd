"""Compare noise laws of the diffusion of molecules: D of PFGM++, steps, and rounded weights.

    python experiments/pfgm.py OUT --qm9 qm9pack-1.0.3-py3-none-any.whl

For every D one network is trained, from the same seed, for as many steps, on the molecules of QM9
with few atoms; infinite D is the Gaussian law. Of each are drawn as many molecules, of the same
seeds, with 10, 18, 40 and 100 steps of Heun's sampler (two network calls each), once with its
weights and once with those rounded to bfloat16. Written before anything was trained: what counts
is the share of valid molecules by explicit bonds; two shares differ if they are further apart than
two standard errors. PFGM++ expects small D to lose less with few steps and with rounded weights.

The folder holds what was done, and the same command goes on with it. The network is smaller than
the default, so that it learns in minutes of one core what can be compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from ase import Atoms
from common import matkit, metrics, save, table

from matkit.generate.api import generate
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.molecules.generation import MoleculeOptions
from matkit.molecules.reading import read_molecules

CONFIG = Path(__file__).parent.parent / "configs" / "generative" / "edm.yaml"
SIZE = {"width": 64, "pair_width": 32, "points": 4, "heads": 4, "layers": 4}
DIMENSIONS = (32, None, 128, 512, 2048)  # None is infinite; the extremes first
STEPS = (10, 18, 40, 100)
SCORES = {"valid": "valid", "perceived": "perceived", "stable": "molecules stable"}


def main() -> None:
    """Train and draw, one noise law after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--qm9", required=True)
    parser.add_argument("--max-atoms", type=int, default=13)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rows = []
    for extra in DIMENSIONS:
        model = trained(extra, args)
        weights = {"float32": model, "bfloat16": rounded(model)}
        for name, file in weights.items():
            for steps in STEPS:
                scores = drawn(file, steps, args)
                rows.append({"D": extra or "infinite", "weights": name, "steps": steps, **scores})
                print(rows[-1], flush=True)
    print(table(rows))


def small(args: argparse.Namespace) -> Path:
    """Return the file of the molecules of QM9 with few atoms."""
    path = args.out / f"qm9-{args.max_atoms}.extxyz"
    if not path.exists():
        found = (entry.structures for entry in read_molecules([args.qm9]))
        few = [one for one in found if one is not None and len(one.species) <= args.max_atoms]
        save(path, [Atoms(one.species.numpy(), one.positions.numpy()) for one in few])
    return path


def trained(extra: float | None, args: argparse.Namespace) -> Path:
    """Train the network of a noise law, or go on with it; return its file."""
    config = yaml.safe_load(CONFIG.read_text())
    config["model"] |= SIZE | {"extra_dimensions": extra, "max_atoms": args.max_atoms}
    config["training"] |= {
        "train_file": [str(small(args))],
        "properties": [],
        "max_num_epochs": args.epochs,
        "ema_decay": 0.998,
        "work_dir": str(args.out),
        "name": f"d{extra or 'inf'}",
    }
    path = args.out / f"d{extra or 'inf'}.yaml"
    path.write_text(yaml.safe_dump(config))
    folder = args.out / config["training"]["name"]
    if not (folder / "metrics.json").exists():
        go_on = ("--restart", "auto", "--checkpoint-interval", 120)
        matkit("train", path, *go_on, threads=args.threads)
    return folder / "model.safetensors"


def rounded(path: Path) -> Path:
    """Write a model whose weights are rounded to bfloat16, and return its file."""
    target = path.with_name("bfloat16.safetensors")
    if not target.exists():
        model, meta = checkpoint.load(path, Generator)
        for weight in model.parameters():
            weight.data = weight.data.to(torch.bfloat16).to(weight.dtype)
        checkpoint.save(model, target, meta["card"])
    return target


def drawn(model: Path, steps: int, args: argparse.Namespace) -> dict[str, float]:
    """Draw molecules, or go on with it; return their scores in per cent."""
    out = args.out / f"{model.parent.name}-{model.stem}-{steps}"
    if not (out / "metrics.json").exists():
        options = MoleculeOptions(
            model=str(model), num_samples=args.samples, steps=steps, redraw=0, out=str(out)
        )
        generate(options)
    found = {score["name"]: score["value"] for score in metrics(out)["scores"]}
    return {name: 100 * found[score] for name, score in SCORES.items()}


if __name__ == "__main__":
    main()
