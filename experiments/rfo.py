"""Relaxation of rattled molecules: predicted Hessians against optimisers that know none.

    python experiments/rfo.py MODEL FOLDER --out OUT [--count 100] [--fmax 0.01] [--workers W]

MODEL has a Hessian head and gives energies and forces to all optimisers. FOLDER was written by
`matkit data molecules` or `matkit label` for molecules that it has not seen; of each the relaxed
structure is taken and rattled. A gradient call is an evaluation of energy and forces; Hessians are
counted apart. Energies are compared with those where BFGS ended: a rattled molecule may have
several minima nearby.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from common import table

from matkit import load_calculator, relax
from matkit.calculator import MatkitCalculator

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "FIRE": {"optimizer": "FIRE"},
    "BFGS": {"optimizer": "BFGS"},
    "BFGS, predicted first Hessian": {"optimizer": "BFGS", "hessian": "predict"},
    "RFO, one predicted Hessian": {"optimizer": "RFO", "hessian": "predict"},
    "RFO, predicted every 5 steps": {"optimizer": "RFO", "hessian": "predict", "hessian_every": 5},
    "RFO, predicted every step": {"optimizer": "RFO", "hessian": "predict", "hessian_every": 1},
}


class Counting(MatkitCalculator):
    """Counts what is asked of a calculator."""

    gradients = 0
    hessians = 0

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """Count an evaluation of energy and forces."""
        self.gradients += 1
        super().calculate(*arguments, **named)

    def get_hessian(self, *arguments: Any, **named: Any) -> np.ndarray:
        """Count a Hessian."""
        self.hessians += 1
        return super().get_hessian(*arguments, **named)


def rattled(folder: Path, count: int, size: float) -> list[Atoms]:
    """Return relaxed structures of a folder, evenly spread, with displaced atoms."""
    files = [path for path in sorted(folder.glob("*.extxyz")) if path.stat().st_size]
    frames = [atoms for path in files for atoms in read(path, ":")]
    relaxed = [atoms for atoms in frames if atoms.info.get("config_type") == "relaxed"]
    if not relaxed:
        raise SystemExit(f"No structure with config_type = relaxed in {folder}.")
    picked = relaxed[:: max(1, len(relaxed) // count)][:count]
    made = [Atoms(atoms.numbers, atoms.positions) for atoms in picked]
    for seed, atoms in enumerate(made):
        atoms.rattle(size, seed=seed)
    return made


@cache
def counting(model: str) -> Counting:
    """Return the calculator of a model, one for each process."""
    torch.set_num_threads(1)
    return Counting(load_calculator(model, dtype="float64").potentials, dtype="float64")


def run(model: str, limits: dict[str, Any], options: dict[str, Any], atoms: Atoms) -> dict:
    """Relax one molecule."""
    calc = counting(model)
    calc.gradients = calc.hessians = 0
    calc.reset()
    done = relax(atoms, calc, **options, **limits)
    return {
        "converged": done.converged,
        "steps": done.steps,
        "gradients": calc.gradients,
        "hessians": calc.hessians,
        "energy": done.energy,
    }


def summary(name: str, rows: Sequence[dict], reference: Sequence[dict]) -> dict[str, object]:
    """Return medians over the molecules."""
    column = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    base = np.array([row["energy"] for row in reference])
    return {
        "optimizer": name,
        "converged": int(column["converged"].sum()),
        "median_steps": float(np.median(column["steps"])),
        "median_gradient_calls": float(np.median(column["gradients"])),
        "largest_gradient_calls": float(column["gradients"].max()),
        "median_hessians": float(np.median(column["hessians"])),
        "same_energy_1mev": int((np.abs(column["energy"] - base) < 1e-3).sum()),
        "lower_energy": int((column["energy"] < base - 1e-3).sum()),
    }


def main() -> None:
    """Relax all molecules with all optimisers, and write a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rattle", type=float, default=0.1, help="Å")
    parser.add_argument("--fmax", type=float, default=0.01, help="eV/Å")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    given = parser.parse_args()
    molecules = rattled(given.folder, given.count, given.rattle)
    limits = {"fmax": given.fmax, "steps": given.steps}
    relaxed = partial(run, given.model, limits)
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        results = {
            name: list(pool.map(partial(relaxed, options), molecules))
            for name, options in OPTIMIZERS.items()
        }
    lines = [summary(name, rows, results["BFGS"]) for name, rows in results.items()]
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"model": given.model, "molecules": len(molecules), "rattle": given.rattle, **limits}
    (given.out / "rfo.json").write_text(json.dumps(record | {"rows": lines}, indent=2))
    (given.out / "rfo.md").write_text(table(lines) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
