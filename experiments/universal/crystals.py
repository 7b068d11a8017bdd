"""Crystals to learn from, and real DFT frames, divided by formula; no official test set is met."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from ase import Atoms
from ase.collections import g2
from ase.stress import voigt_6_to_full_3x3_stress
from common import data, frames, save

from matkit.data.groups import reduced_formula
from matkit.data.tables import read_parquet

TABLES = {
    "mp_20": ("train_partial", "train_extra_from_mpts52", "val"),
    "mpts_52": ("val",),
    "perov_5": ("train", "val"),
}
FAMILIES = (
    "alexandria-random-1k",
    "mpf-TP",
    "mpf-alkali-TP",
    "mptrj-highest-stress-1k",
    "mptrj-random-1k",
    "random-TP",
)
# Near what people compute, so that more is made of their structures.
ORDINARY = ("alexandria-random-1k", "mptrj-highest-stress-1k", "mptrj-random-1k")
# Frames at ordinary volumes are said to be at hundreds of GPa here, where all models find none:
# these stresses are not learnt from.
WRONG_STRESS = "mptrj-highest-stress-1k"
# Parts of the formulas, of every family of DFT frames and of the crystals to be labelled.
DFT_PARTS = {"test": 0.25, "valid": 0.05}
TEACHER_PARTS = {"test": 0.03, "valid": 0.02}
VACUUM = 4.0  # Å on every side of a molecule, so 8 between images; potentials reach 5
SEED = 5


def formulas(structures: Iterable[Atoms]) -> list[str]:
    """Return the reduced formula of each structure."""
    return [reduced_formula(atoms.numbers) for atoms in structures]


def divide(names: Iterable[str], parts: dict[str, float], taken: dict[str, str]) -> None:
    """Give every formula that has none yet a part at random: `taken` is filled in."""
    new = sorted({*names} - taken.keys())
    random.Random(SEED).shuffle(new)
    first = 0
    for part, fraction in parts.items():
        last = first + round(fraction * len(new))
        taken.update(dict.fromkeys(new[first:last], part))
        first = last
    taken.update(dict.fromkeys(new[first:], "train"))


def part_of(formula: str, parts: dict[str, float]) -> str:
    """Return the part of a formula, whichever others there are."""
    number, last = random.Random(f"{SEED} {formula}").random(), 0.0
    for part, fraction in parts.items():
        last += fraction
        if number < last:
            return part
    return "train"


def write_dft(out: Path) -> dict[str, str]:
    """Write the DFT frames by part, those of the test part by family; return formulas' parts."""
    parts: dict[str, str] = {}
    learnt: dict[str, list[Atoms]] = {"train": [], "valid": []}
    tested: dict[str, list[Atoms]] = {}
    for family in FAMILIES:
        found = frames(data("inorganic_broad", f"{family}.extxyz.gz"))
        divide(formulas(found), DFT_PARTS, parts)
        for atoms, formula in zip(found, formulas(found), strict=True):
            atoms.info = {"config_type": family, "group": formula}
            if parts[formula] == "test":
                tested.setdefault(f"test-{family}", []).append(atoms)
                continue
            if family == WRONG_STRESS:
                del atoms.calc.results["stress"]
            learnt[parts[formula]].append(atoms)
    learnt = {name: [as_labels(atoms) for atoms in found] for name, found in learnt.items()}
    for name, structures in (learnt | tested).items():
        save(out / f"{name}.extxyz", structures)
    return parts


def as_labels(atoms: Atoms) -> Atoms:
    """Return a structure with its labels where ``matkit label`` writes them."""
    labelled, results = atoms.copy(), dict(atoms.calc.results)
    labelled.set_array("REF_forces", results.pop("forces"))
    if "stress" in results:
        results["stress"] = voigt_6_to_full_3x3_stress(results["stress"]).ravel()
    labelled.info |= {f"REF_{name}": value for name, value in results.items()}
    return labelled


def tested_formulas() -> set[str]:
    """Return the formulas of all official test sets of crystals."""
    tables = (data(name, "test.parquet") for name in TABLES)
    return {formula for table in tables for formula in formulas(read_parquet(table))}


def ordinary_frames(parts: dict[str, str], most_atoms: int) -> list[Atoms]:
    """Return structures without labels of ordinary DFT frames that may be learnt from."""
    kept = []
    for family in ORDINARY:
        for atoms in frames(data("inorganic_broad", f"{family}.extxyz.gz")):
            (formula,) = formulas([atoms])
            if parts[formula] == "train" and atoms.pbc.all() and len(atoms) <= most_atoms:
                atoms.calc, atoms.info = None, {"source": family, "group": formula}
                kept.append(atoms)
    return kept


def molecules() -> list[Atoms]:
    """Return the molecules of ASE's G2 collection, each in a cell where it meets no image."""
    kept = []
    for name in g2.names:
        if len(atoms := g2[name]) > 1:
            atoms.center(vacuum=VACUUM)
            molecule = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
            molecule.info = {"source": "G2", "group": f"G2 {name}"}
            kept.append(molecule)
    return kept


def candidates(forbidden: set[str], most_atoms: int, perovskites: int) -> list[Atoms]:
    """Return crystals of allowed formulas in random order, each id once.

    Args:
        forbidden: Reduced formulas that are left out.
        most_atoms: Most atoms of a cell.
        perovskites: Most crystals of Perov-5, which are many and alike.
    """
    found: dict[str, Atoms] = {}
    for name in TABLES:
        rows = list(crystals_of(name, forbidden, most_atoms))
        random.Random(SEED).shuffle(rows)
        # An id of MP-20 and of MPTS-52 is the same crystal.
        found |= dict(rows[:perovskites] if name == "perov_5" else rows)
    order = sorted(found)
    random.Random(SEED).shuffle(order)
    return [found[name] for name in order]


def crystals_of(name: str, forbidden: set[str], most_atoms: int) -> Iterator[tuple[str, Atoms]]:
    """Give the id and the structure of the crystals of one collection."""
    for table in TABLES[name]:
        for atoms in read_parquet(data(name, f"{table}.parquet")):
            (formula,) = formulas([atoms])
            if len(atoms) <= most_atoms and formula not in forbidden:
                number = str(atoms.info["material_id"])
                atoms.info = {"source": name, "group": formula}
                yield number, atoms
