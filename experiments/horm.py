"""Hessians of reactive molecules beside density functional theory, which no weights here have seen.

    MATKIT_DATA=... python experiments/horm.py MODEL --out OUT

55 geometries of HORM (Cui et al. 2025) between reactants and products, with Hessians of
wB97X/6-31G(d). Three methods are compared with them: GFN2-xTB by finite differences, from which the
predictor learnt, MODEL's prediction, and the second derivatives of MODEL's energy; and the latter
two with GFN2-xTB. The set is for evaluation alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from common import data, table
from hessians import compare, summary

from matkit import load_calculator
from matkit.hessians.differences import symmetrised
from matkit.label.calculator_engine import xtb_engine
from matkit.report.json_files import json_bytes, plain

STEP = 0.005  # Å, as in the labels


def read() -> list[tuple[Atoms, np.ndarray]]:
    """Return the geometries with their Hessians [3N, 3N] in eV/Å², made symmetric."""
    found = np.load(data("horm_hessian", "horm_sample.npz"))
    ends = np.cumsum(found["n_atoms"])[:-1]
    places = np.cumsum((3 * found["n_atoms"]) ** 2)[:-1]
    parts = zip(
        np.split(found["numbers"], ends),
        np.split(found["positions"], ends),
        np.split(found["hessian"].ravel(), places),
        strict=True,
    )
    return [
        (Atoms(numbers, positions), symmetrised(flat.reshape(3 * len(numbers), -1))[0])
        for numbers, positions, flat in parts
    ]


def main() -> None:
    """Measure, and write a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    calculator = load_calculator(given.model, dtype="float64")
    gfn2 = xtb_engine("gfn2", {"accuracy": 0.01})
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for atoms, exact in read():
        tight = symmetrised(gfn2.difference_hessian(atoms, STEP))[0]
        found = {
            name: calculator.get_hessian(atoms, method=method)
            for name, method in (("predicted", "predict"), ("autograd", "autograd"))
        }
        rows.setdefault(("GFN2-xTB", "wB97X"), []).append(compare(atoms, exact, tight))
        for name, matrix in found.items():
            rows.setdefault((name, "wB97X"), []).append(compare(atoms, exact, matrix))
            rows.setdefault((name, "GFN2-xTB"), []).append(compare(atoms, tight, matrix))
    lines = [{"hessian": a, "beside": b, **summary(part)} for (a, b), part in rows.items()]
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"model": given.model, "rows": lines}
    (given.out / "horm.json").write_bytes(json_bytes(plain(record)))
    (given.out / "horm.md").write_text(table(lines) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
