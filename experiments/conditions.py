"""Ask a generator of crystals for band gaps and for stability, and measure what comes.

    python experiments/conditions.py MODEL OUT --train TRAIN --valid VALID --guidance 1 2

What counts was written before anything was drawn: all that was drawn and relaxed by the default
potential.

- band gaps of 0, 1, 2, 3 and 5 eV, 40 crystals each: the mean absolute error against what was asked
  for, beside that of as many crystals drawn without a condition against the same numbers. Gaps are
  predicted by a network that is trained apart, here, on TRAIN, and its error on VALID is printed;
- energies above the hull of 0 and 0.08 eV/atom, 200 crystals each, and as many without a condition:
  the median energy above the hull of the default potential, and how many are stable (within 0.1
  eV/atom), and stable, unique and not in TRAIN.

The folder holds what was drawn, and the same command goes on with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from common import table
from numpy.typing import NDArray
from predictor import Predictor, read_examples, trained_predictor

from matkit.crystals.generation import CrystalOptions
from matkit.crystals.reading import Crystal, read_crystals
from matkit.generate.api import generate
from matkit.structures import Structures
from matkit.train.correction_numbers import Verifier

GAPS = (0.0, 1.0, 2.0, 3.0, 5.0)
HULLS = (0.0, 0.08)
STABLE = 0.1
GAP, HULL = "band_gap", "e_above_hull"


def main() -> None:
    """Draw, and print one table for each kind of condition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    args = parser.parse_args()
    known = read_crystals(args.train)
    rows = [stability(drawn(args, "free", 200), "none", known)]
    for value in HULLS:
        for guidance in args.guidance:
            frames = drawn(args, f"hull-{value:g}-{guidance:g}", 200, (HULL, value), guidance)
            rows.append(stability(frames, f"{value:g} eV/atom, guidance {guidance:g}", known))
    print(table(rows), flush=True)
    predictor = known_predictor(args.out / "predictor.pt", read_examples(args.train, [GAP]))
    valid = read_examples([args.valid], [GAP])
    errors = np.abs(predictor.values(valid) - valid.system[GAP].numpy())
    print(f"\nPredictor: mean absolute error {np.nanmean(errors):.2f} eV on {args.valid}\n")
    print(table(gaps(args, predictor)))


def known_predictor(path: Path, train: Structures) -> Predictor:
    """Return a predictor of band gaps, trained now or earlier."""
    if path.exists():
        predictor = Predictor(train, GAP)
        predictor.load_state_dict(torch.load(path))
        return predictor
    torch.manual_seed(0)
    predictor = trained_predictor(train, GAP)
    torch.save(predictor.state_dict(), path)
    return predictor


def drawn(
    args: argparse.Namespace,
    name: str,
    count: int,
    condition: tuple[str, float] | None = None,
    guidance: float = 1.0,
) -> list[Atoms]:
    """Return crystals, drawn and relaxed now or earlier."""
    out = args.out / name
    if not (out / "metrics.json").exists():
        asked = [] if condition is None else [f"{condition[0]}={condition[1]}"]
        generate(
            CrystalOptions(
                model=args.model,
                num_samples=count,
                condition=asked,
                guidance=guidance,
                relax="default",
                out=str(out),
            )
        )
    return read(out / "relaxed.extxyz", ":")


def stability(frames: Sequence[Atoms], name: str, known: Sequence[Crystal]) -> dict[str, object]:
    """Return one row: how stable crystals are."""
    verifier = Verifier("default", ["default"], STABLE, "cpu")
    found = verifier.evaluation(frames, known)
    assert found is not None
    above = [one for one in found.generated.above_hull if one is not None]
    counts = verifier.counts(found)
    return {
        "energy above the hull": name,
        "relaxed": len(frames),
        "median, eV/atom": float(np.median(above)),
        "stable, %": 100 * counts["stable"] / len(frames),
        "stable, unique and new, %": 100 * counts["stable_unique_and_new"] / len(frames),
    }


def gaps(args: argparse.Namespace, predictor: Predictor) -> list[dict[str, object]]:
    """Return one row for each guidance, and one without a condition."""
    free = predicted(args.out / "free", predictor)
    rows = [row("none", dict.fromkeys(GAPS, free))]
    for guidance in args.guidance:
        found = {}
        for gap in GAPS:
            name = f"gap-{gap:g}-{guidance:g}"
            drawn(args, name, 40, (GAP, gap), guidance)
            found[gap] = predicted(args.out / name, predictor)
        rows.append(row(f"guidance {guidance:g}", found))
    return rows


def predicted(folder: Path, predictor: Predictor) -> NDArray[np.float64]:
    """Return the gaps of the relaxed crystals of a folder, none below zero."""
    crystals = read_examples([str(folder / "relaxed.extxyz")], [])
    return np.maximum(predictor.values(crystals), 0.0)


def row(name: str, found: dict[float, NDArray[np.float64]]) -> dict[str, object]:
    """Return the errors against what was asked for, and the means, in eV."""
    errors = [np.abs(values - gap).mean() for gap, values in found.items()]
    means = {f"mean at {gap:g} eV": float(values.mean()) for gap, values in found.items()}
    return {"condition": name, "mean absolute error, eV": float(np.mean(errors)), **means}


if __name__ == "__main__":
    main()
