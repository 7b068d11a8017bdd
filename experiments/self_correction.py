"""Let a generator correct itself, beside one that learns from whatever it makes.

    python experiments/hull.py phases.csv --model sevennet-l3i5
    python experiments/self_correction.py OUT --train TRAIN --valid VALID --hull phases.csv

Two runs begin with one epoch more of the same generator: in one the default potential relaxes what
was drawn and keeps what is stable, unique and new; the other, the control, keeps what is valid,
unique and new as it was drawn. A second potential relaxes and judges what comes of every round of
both, with PHASES as its hull. Prints one row a round; the same command goes on after any end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import matkit, table

CONFIG = Path(__file__).parent.parent / "configs" / "training" / "mp20.yaml"
RUNS = {"corrected": "default", "control": "none"}


def run(name: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Train with rounds, or go on with it; return one row a round."""
    options = {
        "model": args.model,
        "max-num-epochs": 1,
        "lr": args.rate,
        "train-file": args.train,
        "valid-file": args.valid,
        "self-correct": args.rounds,
        "correct-samples": args.samples,
        "judge-samples": args.judged,
        "correct-weight": args.weight,
        "correct-lr": 1.0,
        "correct-epochs": args.epochs,
        "verifier": RUNS[name],
        "judge": args.judge,
        "judge-hull": args.hull,
        "work-dir": args.out,
        "name": name,
        "restart": "auto",
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    matkit("train", CONFIG, *flags, threads=args.threads)
    return [row_of(name, number, args) for number in range(args.rounds + 1)]


def row_of(name: str, number: int, args: argparse.Namespace) -> dict[str, object]:
    """Return what was kept in a round, and what the second potential says of its result."""
    folder = args.out / name / f"round-{number}"
    judged = json.loads((folder / "judged.json").read_text())
    kept = json.loads((folder / "numbers.json").read_text())["kept"] if number else 0
    shares = ("relaxed", "stable", "unique_and_new", "stable_unique_and_new")
    return {
        "run": name,
        "round": number,
        "kept": kept,
        **{f"{share}, %": 100 * judged[share] / judged["drawn"] for share in shares},
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="crystalflow-mp20", help="generator to begin with")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--hull", type=Path, required=True, help="phases of the judge's hull")
    parser.add_argument("--judge", default="sevennet-l3i5")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=3, help="of each round")
    parser.add_argument("--weight", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(table([row for name in RUNS for row in run(name, args)]))


if __name__ == "__main__":
    main()
