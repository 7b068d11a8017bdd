"""Let a generator correct itself, beside one that learns from whatever it makes.

    python experiments/self_correction.py OUT --data perov_5 --config perov5-csp --hull PHASES.xyz

Two runs begin with the same training: in one the default potential relaxes what was drawn and keeps
what is stable, unique and new; the other, the control, keeps what is valid, unique and new as it
was drawn. A second potential relaxes and judges what comes of every round of both; PHASES holds the
crystals of its hull (those that `experiments/hull.py` leaves in its folder: relaxed-10.xyz). Prints
one row a round; the same command goes on after any end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import data, matkit, table

CONFIGS = Path(__file__).parent.parent / "configs" / "training"
RUNS = {"corrected": "default", "control": "none"}


def run(name: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Train with rounds, or go on with it; return one row a round."""
    options = {
        "train-file": data(args.data, "train.parquet"),
        "valid-file": data(args.data, "val.parquet"),
        "self-correct": args.rounds,
        "correct-samples": args.samples,
        "correct-weight": args.weight,
        "verifier": RUNS[name],
        "judge": args.judge,
        "judge-hull": args.hull,
        "work-dir": args.out,
        "name": name,
        "restart": "auto",
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    matkit(
        "train",
        CONFIGS / f"{args.config}.yaml",
        "--generates-species",
        *flags,
        threads=args.threads,
    )
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
    parser.add_argument("--data", default="perov_5", help="folder of the data set")
    parser.add_argument("--config", default="perov5-csp", help="recipe of the training")
    parser.add_argument("--hull", type=Path, required=True, help="crystals of the judge's hull")
    parser.add_argument("--judge", default="sevennet-l3i5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--weight", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(table([row for name in RUNS for row in run(name, args)]))


if __name__ == "__main__":
    main()
