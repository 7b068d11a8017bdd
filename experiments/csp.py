"""Predict the structures of a test set from their compositions, and count how many are found.

    python experiments/csp.py MODEL mp_20/test.parquet --samples 1 20 --limit 1000 --workers 2

The crystals go into a folder and are taken from there if the same command runs again. `--limit`
takes that many random structures of the file. Match rates come with both tolerances and every
gate (`matkit evaluate crystals --help` says what they are); a standard error is that of a fraction.
With `--relax default` all samples are relaxed and ranked by energy: then the lowest of each
composition is the one that counts, as it is for a user.
"""

from __future__ import annotations

import argparse
import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import write
from common import table

from matkit.crystals.evaluation import match_rates
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.judging import judge
from matkit.crystals.matching import Repeats
from matkit.crystals.pairing import pair
from matkit.crystals.parallel import Pool, open_pool
from matkit.crystals.reading import Crystal, crystal_of, read_crystals, read_entries
from matkit.crystals.results import Judged
from matkit.crystals.scores import Match
from matkit.generate.batch import Batch
from matkit.generate.models import generator_of, model_names
from matkit.generate.run import draw, relax_batch


def reference_file(args: argparse.Namespace) -> Path:
    """Return the file itself, or one with some random structures of it."""
    if args.limit is None:
        return args.file
    entries = read_entries([args.file])
    chosen = np.random.default_rng(args.seed).permutation(len(entries))[: args.limit]
    frames = [entries[i][1] for i in sorted(chosen)]
    if unreadable := [text for text in frames if isinstance(text, str)]:
        raise SystemExit(f"{len(unreadable)} structures cannot be read. The first: {unreadable[0]}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"reference-{args.limit}.extxyz"
    write(path, [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True) for a in frames])
    return path


def sampled(args: argparse.Namespace, reference: Path, steps: int | None) -> Batch:
    """Return the crystals, all of one number of steps in one folder."""
    options = CrystalOptions(
        model=args.model,
        like=str(reference),
        num_samples=max(args.samples),
        redraw=0,  # as published: every sample counts
        steps=steps,
        seed=args.seed,
        device=args.device,
        relax=args.relax,
    )
    names = model_names(options, "crystal")
    generator, _ = generator_of(names, None, args.device, "crystal")
    folder = args.out / f"{steps or generator.steps}-steps"
    options = options.model_copy(update={"out": str(folder)})
    batch = draw(generator, options, lambda stage: nullcontext())
    if args.relax is None:
        return batch
    return relax_batch(batch, generator.domain, options, lambda stage: nullcontext())


def judged(crystals: list[Crystal], pool: Pool) -> Judged:
    """Return crystals with their validity; which of them are alike does not matter here."""
    facts = judge(crystals, pool, fingerprints=False)
    return Judged(crystals, facts, Repeats((None,) * len(crystals), 0))


def found(args: argparse.Namespace, reference: list[Crystal], batch: Batch) -> list[Match]:
    """Return match rates for each number of samples."""
    generated = [crystal_of(atoms, f"crystal {i}") for i, atoms in batch.drawn.items()]
    rows = []
    with open_pool(args.workers, args.timeout) as pool:
        ours, theirs = judged(generated, pool), judged(reference, pool)
        for samples in args.samples:
            matches = match_rates(ours, theirs, pair(generated, reference, samples), pool)
            rows += [row for row in matches if row.samples == samples]
    return rows


def lowest_found(
    args: argparse.Namespace, reference: list[Crystal], batch: Batch
) -> list[dict[str, object]]:
    """Return match rates of the relaxed samples: of the lowest in energy, and of any."""
    energies = {n: batch.relaxation[n]["energy_after"] for n in batch.relaxed}
    best: dict[int, Atoms] = {}
    for number in sorted(energies, key=lambda n: energies[n]):
        best.setdefault(batch.relaxed[number].info["like"], batch.relaxed[number])
    lowest = [replace(crystal_of(a, f"crystal {n}"), attempt=(n, 0)) for n, a in best.items()]
    every = [crystal_of(atoms, f"crystal {n}") for n, atoms in batch.relaxed.items()]
    rows = []
    with open_pool(args.workers, args.timeout) as pool:
        theirs = judged(reference, pool)
        for name, crystals, samples in (("lowest", lowest, 1), ("any", every, max(args.samples))):
            pairing = pair(crystals, reference, samples)
            found = match_rates(judged(crystals, pool), theirs, pairing, pool)
            whole = (row_of(match, len(reference)) for match in found if match.samples == samples)
            rows += [{"relaxed": name, **row} for row in whole]
    return rows


def row_of(match: Match, count: int) -> dict[str, object]:
    """Return one row of the table."""
    return {
        "samples": match.samples,
        "tolerances": f"{match.tolerances.name} ({match.tolerances})",
        "gate": match.gate,
        "match rate": f"{match.rate:.4f}",
        "standard error": f"{math.sqrt(match.rate * (1 - match.rate) / count):.4f}",
        "RMSE": "-" if match.rmse is None else f"{match.rmse:.4f}",
        "ceiling": f"{match.ceiling:.4f}",
        "undecided": match.undecided,
    }


def main() -> None:
    """Sample, match and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="generators of given compositions, as in matkit generate")
    parser.add_argument("file", type=Path, help="structures to find")
    parser.add_argument("--samples", type=int, nargs="+", default=[1])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--steps", type=int, nargs="+", default=[None])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/csp"))
    parser.add_argument("--relax", help="potential that relaxes and ranks the samples")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes that match")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one pair")
    args = parser.parse_args()
    file = reference_file(args)
    reference = read_crystals([file])
    for steps in args.steps:
        batch = sampled(args, file, steps)
        seconds = sum(row.get("seconds", 0.0) for row in batch.rows.values())
        begin = time.perf_counter()
        rows = [row_of(match, len(reference)) for match in found(args, reference, batch)]
        print(
            f"\n{args.model}, {len(reference)} structures of {args.file}, seed {args.seed}: "
            f"{len(batch.generated)} crystals of {len(batch.rows)} asked for in {seconds:.0f} s "
            f"({len(batch.generated) / max(seconds, 1e-9):.1f} crystals/s, {batch.network_calls} "
            f"network calls each, {torch.get_num_threads()} threads); matched in "
            f"{time.perf_counter() - begin:.0f} s\n\n{table(rows)}"
        )
        if args.relax is not None:
            found_lowest = lowest_found(args, reference, batch)
            print(
                f"\n{len(batch.relaxed)} of them relaxed by {args.relax}\n\n{table(found_lowest)}"
            )


if __name__ == "__main__":
    main()
