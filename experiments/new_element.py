"""Teach a potential an element it does not know, and see what becomes of the others.

    python experiments/new_element.py OUT

Alloys of Nb, Mo, Ta and W: a Facet is trained without tungsten and then fine-tuned on structures
with it. Tested on structures of the official test set without and with tungsten; the former are
retained by replay of the structures of the first training.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from ase import Atoms
from common import data, errors, frames, matkit, metrics, save, table

NEW = "W"


def parted(structures: list[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Return the structures without the new element, and those with it."""
    without = [atoms for atoms in structures if NEW not in atoms.symbols]
    return without, [atoms for atoms in structures if NEW in atoms.symbols]


def prepare(out: Path, count: int) -> None:
    """Write training and test sets without and with the new element.

    Strained cells are left out: some are rotated copies of others, and would be on both sides of
    the split.
    """
    train, test = (frames(data("alloy_NbMoTaW", f"{s}.extxyz.gz")) for s in ("train", "test"))
    train = [atoms for atoms in train if "Elastic" not in atoms.info["group"]]
    for name, part in zip(("old", "new"), parted(train), strict=True):
        save(out / f"{name}.extxyz", random.Random(0).sample(part, count))
    for name, part in zip(("old", "new"), parted(test), strict=True):
        save(out / f"{name}-test.extxyz", part)


def run(command: str, name: str, out: Path, threads: int, **options: object) -> dict:
    """Train, or read what was trained before; return the metrics."""
    shared = {
        "name": name,
        "work-dir": out,
        "restart": "auto",
        "batch-size": 4,
        "valid-fraction": 0.1,
        "split-by": "random",
        "eval-interval": 5,
    }
    settings = shared | {key.replace("_", "-"): value for key, value in options.items()}
    if not (out / name / "metrics.json").exists():
        flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
        matkit(command, *flags, threads=threads)
    return metrics(out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--structures", type=int, default=300, help="of each kind to learn from")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    out: Path = given.out
    if not (out / "new-test.extxyz").exists():
        prepare(out, given.structures)
    first = run(
        *("train", "without", out, given.threads),
        model="facet-s",
        r_max=4.0,
        lr=0.01,
        max_num_epochs=given.epochs,
        train_file=out / "old.extxyz",
        test_file=out / "old-test.extxyz",
    )
    second = run(
        *("finetune", "with", out, given.threads),
        foundation_model=out / "without" / "model.safetensors",
        lr=0.002,
        max_num_epochs=given.epochs,
        train_file=out / "new.extxyz",
        test_file=out / "new-test.extxyz",
        replay_file=out / "old.extxyz",
        retain_file=out / "old-test.extxyz",
    )
    rows = [
        {"test set": "without W", "model": "before", **errors(first, "test")},
        {"test set": "without W", "model": "after", **errors(second, "retained", "after")},
        {"test set": "with W", "model": "after", **errors(second, "test", "after")},
    ]
    (out / "new_element.json").write_text(json.dumps(rows, indent=2))
    print(table(rows))


if __name__ == "__main__":
    main()
