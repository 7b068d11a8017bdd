"""Fine-tune a published model on few structures: errors before, after, and from scratch.

    python experiments/finetune.py OUT [--data tio2] [--sizes 20 100] [--epochs 60]

The structures are drawn at random from the training set; a fifth of them chooses the best epoch.
Errors are those on the whole test set. Forgetting is measured on structures of MPtrj
(`inorganic_broad`) that none of the trainings saw. From scratch: Facet S, the same structures.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from ase import Atoms
from common import data, errors, frames, matkit, metrics, save, table


def draw(structures: list[Atoms], count: int, largest: int) -> list[Atoms]:
    """Return structures of limited size, drawn at random."""
    small = [atoms for atoms in structures if len(atoms) <= largest]
    return random.Random(0).sample(small, count)


def prepare(out: Path, name: str, sizes: list[int]) -> None:
    """Write the structures to learn from, and others for forgetting and replay."""
    train = frames(data(name, "train.extxyz.gz"))
    for size in sizes:
        save(out / f"{name}-{size}.extxyz", random.Random(size).sample(train, size))
    crystals = frames(data("inorganic_broad", "mptrj-random-1k.extxyz.gz"))
    drawn = draw(crystals, 200, largest=32)
    save(out / "retained.extxyz", drawn[:100])
    save(out / "replayed.extxyz", drawn[100:])


def run(kind: str, size: int, given: argparse.Namespace) -> dict[str, object]:
    """Train once, or read what was trained before; return a row of the table."""
    out, name = given.out, f"{given.data}-{size}-{kind}"
    options: dict[str, object] = {
        "train-file": out / f"{given.data}-{size}.extxyz",
        "valid-fraction": 0.2,
        "split-by": "random",
        "test-file": data(given.data, "test.extxyz.gz"),
        "max-num-epochs": given.epochs,
        "eval-interval": 5,
        "batch-size": 4,
        "name": name,
        "work-dir": out,
        "restart": "auto",
    }
    if kind == "scratch":
        command = "train"
        options |= {"model": "facet-s", "lr": 0.01}
    else:
        command = "finetune"
        options |= {"foundation-model": given.model, "retain-file": out / "retained.extxyz"}
    if kind == "replay":
        options["replay-file"] = out / "replayed.extxyz"
    if not (out / name / "metrics.json").exists():
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        minutes = matkit(command, *flags, threads=given.threads)
        (out / f"{name}.json").write_text(json.dumps({"minutes": minutes}))
    row: dict[str, object] = {"structures": size, "training": kind}
    row |= json.loads((out / f"{name}.json").read_text())
    return {**row, **compared(metrics(out / name))}


def compared(found: dict) -> dict[str, float]:
    """Return force and energy errors on the test set and on what was to be retained."""
    return {
        f"{dataset} {model} {label}": value
        for dataset in ("test", "retained")
        if dataset in found["errors"]
        for model in found["errors"][dataset]
        for label, value in errors(found, dataset, model).items()
        if "mae" in label
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="tio2", choices=["tio2", "water_pbe0ts"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--kinds", nargs="+", default=["finetune", "replay", "scratch"])
    parser.add_argument("--model", default="sevennet-0")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    prepare(given.out, given.data, given.sizes)
    rows = [run(kind, size, given) for size in given.sizes for kind in given.kinds]
    (given.out / "finetune.json").write_text(json.dumps(rows, indent=2))
    print(table(rows))


if __name__ == "__main__":
    main()
