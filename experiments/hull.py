"""Make the table of phases that `--hull default` stands for.

    python experiments/hull.py matkit/crystals/hull-NAME-DIGEST.csv --near 0.05

All crystals of MP-20 that are there (and pure elements that are not among them) get their energies
by the shipped potential as they are; those near the hull of these energies are relaxed, and what
then is on the hull is written: what is above it changes no energy above the hull. The energies
found so far are kept in the folder, from where the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from common import data
from pymatgen.core import Composition
from pymatgen.io.ase import AseAtomsAdaptor
from tqdm import tqdm

from matkit.crystals.stability import COLUMNS, Hull
from matkit.data.tables import read_parquet
from matkit.models.zoo import load_calculator
from matkit.simulate import relax_many, singlepoint_many

PARTS = ("train_partial", "train_extra_from_mpts52", "val", "test")
# Pure elements of which no crystal is in these files.
ELEMENTS = ("V", "Mo", "Eu", "Lu", "Os", "Pt", "Ac", "Th")
FEW = 500  # crystals after which what was found is written
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


def relaxed(frames: Sequence[Atoms], calc) -> list[tuple[Atoms, float]]:
    """Relax crystals; what does not end well has no energy."""
    ends = relax_many(frames, calc, optimizer="BFGS", relax_cell=True, fmax=0.02)
    return [(e.atoms, e.energy / len(e.atoms) if e.converged else math.nan) for e in ends]


def near(frames: dict[int, Atoms], limit: float) -> dict[int, Atoms]:
    """Return the crystals that are at most so far above the hull of all, in eV/atom."""
    sound = {p: a for p, a in frames.items() if math.isfinite(a.info["energy_per_atom"])}
    hull = Hull([(a.get_chemical_formula(), a.info["energy_per_atom"]) for a in sound.values()])
    return {p: a for p, a in tqdm(sound.items(), "hull") if above(hull, a) <= limit}


def above(hull: Hull, atoms: Atoms) -> float:
    """Return the energy above the hull in eV/atom; infinite without a pure element."""
    found = hull.above(AseAtomsAdaptor.get_structure(atoms), atoms.info["energy_per_atom"])
    return math.inf if found is None else found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("hull"))
    parser.add_argument("--near", type=float, default=0.05)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    calc = load_calculator()
    pool = [atoms for part in PARTS for atoms in read_parquet(data("mp_20", f"{part}.parquet"))]
    frames = dict(enumerate([*others(), *pool]))
    rough = kept(
        frames, args.work / "rough.xyz", lambda some: as_they_are(some, calc), "as they are"
    )
    ends = kept(
        near(rough, args.near),
        args.work / "relaxed.xyz",
        lambda some: relaxed(some, calc),
        "relaxed",
    )
    vertices = near(ends, 1e-9)
    best = {
        Composition(a.get_chemical_formula()).reduced_formula: a.info["energy_per_atom"]
        for a in vertices.values()
    }
    with open(args.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows((formula, f"{energy:.5f}") for formula, energy in sorted(best.items()))
    print(f"{len(frames)} crystals, {len(ends)} relaxed, {len(best)} on the hull")


if __name__ == "__main__":
    main()
