"""Compare potentials on elastic moduli and phonons of crystals that no training of ours has seen.

    python experiments/moduli.py FILE OUT MODEL... REFERENCE [--crystals 100] [--phonons 20]

FILE is mp-binary-pbe-elasticity-2025.1.json.gz of matcalc (benchmark_data of
github.com/materialsvirtuallab/matcalc): bulk and shear moduli of binary compounds by PBE, from the
Materials Project (CC BY 4.0). Of those whose formula is in an official test set of crystals
(`MATKIT_DATA`), which our trainings leave out, some are drawn with a seed; the first of them, by
number of atoms, have phonons too. ``matkit evaluate physics`` computes the numbers (`OUT/elastic`,
`OUT/phonons`), each once, and the tables say how far every model is from the reference model and
from PBE. What was stopped goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from common import matkit, table
from pymatgen.core import Structure
from universal.crystals import tested_formulas

from matkit.data.groups import reduced_formula
from matkit.evaluate.physics.crystals import crystal_names

SEED = 17
COLUMNS = {"bulk modulus": "bulk_modulus_vrh", "shear modulus": "shear_modulus_vrh"}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", help="names or files; reference last")
    parser.add_argument("--crystals", type=int, default=100)
    parser.add_argument("--phonons", type=int, default=20, help="crystals with phonons")
    parser.add_argument("--atoms", type=int, default=12, help="most atoms of a cell")
    given = parser.parse_args()
    if len(given.models) < 2:
        parser.error("expected models and, last, the one that they are compared with; got one only")
    rows = chosen(given.file, given.crystals, given.atoms)
    paths = [_written(given.out / "crystals", row) for row in rows]
    few = sorted(paths, key=lambda path: (path.read_text().count("\n"), path.name))[: given.phonons]
    for kind, files in (("elastic", paths), ("phonons", few)):
        *models, reference = given.models
        where = ["--out", given.out / kind, "--reference", reference]
        matkit("evaluate", "physics", *models, *files, "--quantities", kind, *where, threads=1)
    elastic = json.loads((given.out / "elastic" / "comparison.json").read_text())
    phonons = json.loads((given.out / "phonons" / "comparison.json").read_text())
    print(table(_from_reference([*elastic["distances"], *phonons["distances"]])))
    names = crystal_names([row["atoms"] for row in rows])
    print(table(_from_pbe(elastic["numbers"], dict(zip(names, rows, strict=True)))))


def chosen(file: Path, count: int, most: int) -> list[dict[str, Any]]:
    """Return compounds that no training has seen, drawn at random; at most `most` atoms each."""
    with gzip.open(file, "rt") as text:
        rows = json.load(text)
    allowed = tested_formulas()
    found = []
    for row in sorted(rows, key=lambda row: row["mp_id"]):
        row["atoms"] = Structure.from_dict(row["structure"]).to_ase_atoms()
        if len(row["atoms"]) <= most and reduced_formula(row["atoms"].numbers) in allowed:
            found.append(row)
    random.Random(SEED).shuffle(found)
    return found[:count]


def _written(folder: Path, row: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{row['mp_id']}.extxyz"
    if not path.exists():
        atoms = row["atoms"]
        write(path, Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    return path


def _from_reference(distances: list[dict[str, Any]]) -> list[dict[str, object]]:
    return [
        {
            "model": one["model"],
            "number": one["number"],
            "unit": one["unit"],
            "mean difference": one["mean"],
            "of": one["items"],
            "failed": one["failed"],
        }
        for one in distances
    ]


def _from_pbe(
    numbers: list[dict[str, Any]], names: dict[str, dict[str, Any]]
) -> list[dict[str, object]]:
    """Return the errors of every model, over the crystals that all of them have moduli of."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in numbers:
        if one["quantity"] == "elastic" and one["status"] == "done":
            found.setdefault(one["model"], {})[one["of"]] = one["numbers"]
    common = sorted(set(names).intersection(*found.values()))
    return [
        {"model": model, "of": len(common), "failed": len(names) - len(values)}
        | {
            f"{number}, GPa": np.mean(
                [abs(values[of][number][""] - names[of][column]) for of in common]
            )
            for number, column in COLUMNS.items()
        }
        for model, values in found.items()
    ]


if __name__ == "__main__":
    main()
