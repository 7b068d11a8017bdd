"""Make the table of phases that `--hull default` stands for.

    python experiments/hull.py matkit/crystals/hull-NAME-DIGEST.csv

All crystals of MP-20 that are there (and pure elements that are not among them) get their energies
by the shipped potential (or `--model`) as they are: they are relaxed already with the functional
that it has learnt. Those on the hull of these energies are written (what is above it changes no
energy above the hull), with `--steps 10` after as many steps of a relaxation. What was found so far
is kept in the folder, from where the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from common import data
from pymatgen.core import Composition
from pymatgen.io.ase import AseAtomsAdaptor
from tqdm import tqdm

from matkit.crystals.stability import COLUMNS, Hull
from matkit.data.tables import read_parquet
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.models.zoo import load_calculator
from matkit.simulate import relax_many, singlepoint_many

PARTS = ("train_partial", "train_extra_from_mpts52", "val", "test")
# Pure elements of which no crystal is in these files.
ELEMENTS = ("V", "Mo", "Eu", "Lu", "Os", "Pt", "Ac", "Th")
FEW = 500  # crystals after which what was found is written
ON_HULL = 1e-6  # eV/atom
KEY = "place"  # what crystals say of themselves


def others() -> list[Atoms]:
    """Return pure elements: as ASE builds them, alpha-U and Pa."""
    uranium = Atoms(
        "U4",
        scaled_positions=[
            (0, 0.1025, 0.25),
            (0, 0.8975, 0.75),
            (0.5, 0.6025, 0.25),
            (0.5, 0.3975, 0.75),
        ],
        cell=(2.84, 5.87, 4.94),
        pbc=True,
    )
    protactinium = Atoms(
        "Pa2", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=(3.92, 3.92, 3.24), pbc=True
    )
    return [*(bulk(symbol) for symbol in ELEMENTS), uranium, protactinium]


def found_before(path: Path) -> dict[int, Atoms]:
    """Return the crystals of an earlier run by their place."""
    frames = read(path, ":", "extxyz") if path.exists() else []
    return {int(atoms.info[KEY]): atoms for atoms in frames}


def kept(frames: dict[int, Atoms], path: Path, work, title: str) -> dict[int, Atoms]:
    """Return what `work` makes of the frames, which is written down part by part."""
    found = found_before(path)
    left = [place for place in frames if place not in found]
    for first in tqdm(range(0, len(left), FEW), title):
        places = left[first : first + FEW]
        for place, (atoms, energy) in zip(
            places, work([frames[place] for place in places]), strict=True
        ):
            new = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
            new.info = {KEY: place, "energy_per_atom": energy}
            found[place] = new
        write(path, [found[place] for place in places], append=True)
    return found


def as_they_are(frames: Sequence[Atoms], calc) -> list[tuple[Atoms, float]]:
    results = singlepoint_many(frames, calc, stress=False)
    return [(a, r.energy / len(a)) for a, r in zip(frames, results, strict=True)]


def relaxed(frames: Sequence[Atoms], calc, steps: int) -> list[tuple[Atoms, float]]:
    """Relax crystals a little; the energy of one that gains none is that of its start."""
    ends = relax_many(frames, calc, optimizer="BFGS", relax_cell=True, fmax=0.02, steps=steps)
    return [(e.atoms, min(e.energy, e.initial_energy) / len(e.atoms)) for e in ends]


def on_hull(frames: dict[int, Atoms], path: Path) -> dict[int, Atoms]:
    """Return the crystals that are on the hull of all, whose places are kept in a file."""
    if not path.exists():
        energies = {p: a.info["energy_per_atom"] for p, a in frames.items()}
        best: dict[str, int] = {}
        for place in sorted(energies, key=lambda p: energies[p]):
            formula = Composition(frames[place].get_chemical_formula()).reduced_formula
            best.setdefault(formula, place)
        hull = Hull([(formula, energies[place]) for formula, place in best.items()])
        structures = {p: AseAtomsAdaptor.get_structure(frames[p]) for p in best.values()}
        chosen = [
            p for p, s in tqdm(structures.items(), "hull") if hull.above(s, energies[p]) < ON_HULL
        ]
        path.write_text(json.dumps(chosen))
    return {place: frames[place] for place in json.loads(path.read_text())}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("hull"))
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--model", default=DEFAULT_POTENTIAL, help="whose energies")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    calc = load_calculator(args.model)
    pool = [atoms for part in PARTS for atoms in read_parquet(data("mp_20", f"{part}.parquet"))]
    frames = dict(enumerate([*others(), *pool]))
    rough = kept(frames, args.work / "rough.xyz", lambda some: as_they_are(some, calc), "energies")
    ends = on_hull(rough, args.work / "hull.json")
    if args.steps:
        kept_in = args.work / f"relaxed-{args.steps}.xyz"
        ends = kept(ends, kept_in, lambda some: relaxed(some, calc, args.steps), "relaxed")
    best = {Composition(a.get_chemical_formula()).reduced_formula: a for a in ends.values()}
    gain = [rough[p].info["energy_per_atom"] - a.info["energy_per_atom"] for p, a in ends.items()]
    with open(args.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        rows = {formula: atoms.info["energy_per_atom"] for formula, atoms in best.items()}
        table.writerows((formula, f"{energy:.4f}") for formula, energy in sorted(rows.items()))
    print(f"{len(frames)} crystals, {len(best)} phases; relaxing them gained {np.mean(gain):.4f},")
    print(f"at most {np.max(gain):.4f} eV/atom")


if __name__ == "__main__":
    main()
