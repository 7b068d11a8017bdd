"""Ask a generator of molecules for formulas, scaffolds and gaps, and count what it keeps to.

    python experiments/molecules.py OUT --qm9 qm9pack-1.0.3-py3-none-any.whl

What counts was written before anything was drawn, all of everything drawn, nothing drawn again:

- formulas: 20 of them, ten molecules each; the composition is right, and the molecule valid (by the
  bonds it comes with);
- scaffolds: 20 ring systems and chains, five molecules each; the atoms of the scaffold are where
  they were, to 0.05 Å after superposition, with their bonds, and the molecule is valid;
- gaps: 5, 6, 7, 8 and 9 eV, 40 molecules each; the mean absolute error of the gap of the valid
  ones against what was asked for, beside that of as many molecules drawn without a condition
  against the same numbers. Gaps of QM9 are B3LYP's: they are predicted by a quadratic form of
  frontier orbitals of GFN2-xTB and of the composition, fitted to 1,000 molecules of QM9, and its
  error on 500 others is printed. These are neutral, so ions are left out too (seen after the first
  run: two of a hundred with a guidance of 3 are, and their predicted gaps are senseless).

The folder holds what was drawn, and the same command goes on with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.io import read
from ase.units import Hartree
from common import table
from numpy.typing import NDArray
from tblite.ase import TBLite

from matkit.data.ase import to_ase
from matkit.formulas import parse_formula
from matkit.generate.api import generate
from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.generation import MoleculeOptions
from matkit.molecules.generation.scaffolds import read_scaffold
from matkit.molecules.qm9 import read_qm9
from matkit.molecules.validity import judge_bonds

FORMULAS = [
    "C6H6O",
    "C7H8",
    "C4H8O2",
    "C5H5N",
    "C6H14",
    "C7H10O2",
    "C3H7NO2",
    "C5H8O3",
    "C6H11NO",
    "C4H5N3O",
    "C8H16O",
    "C7H12O",
    "C5H6N2O2",
    "C9H20",
    "C2H6O",
    "C6H9N",
    "C8H10",
    "C5H10FNO",
    "C4H9NO2",
    "C7H11N",
]
SCAFFOLDS = [
    "C1CC1",
    "C1CO1",
    "C1CN1",
    "C1CCC1",
    "C1CCCC1",
    "C1CCOC1",
    "C1CCNC1",
    "C1CCCCC1",
    "c1ccoc1",
    "c1cc[nH]c1",
    "c1ccccc1",
    "c1ccncc1",
    "c1cnc[nH]1",
    "C1=CCCC1",
    "C1CC2CC12",
    "CC(=O)C",
    "CC(N)=O",
    "CCOC",
    "CC#N",
    "C1CCC(=O)C1",
]
GAPS = (5.0, 6.0, 7.0, 8.0, 9.0)
Predictor = Callable[[Atoms], float]
EVERY = 80  # the molecules of QM9 in the fit and its test are that far apart


def main() -> None:
    """Draw, and print one table for each kind of condition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--qm9", type=Path, required=True)
    parser.add_argument("--model", default="moleculeflow-qm9")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0, 3.0, 4.0, 5.0])
    args = parser.parse_args()
    print(table([formulas(args)]), table([scaffolds(args)]), sep="\n\n", flush=True)
    print(table(list(gaps(args))))


def drawn(args: argparse.Namespace, name: str, count: int, **asked: object) -> list[Atoms]:
    """Return molecules, drawn now or earlier."""
    out = args.out / name
    if not (out / "metrics.json").exists():
        options = {"model": args.model, "num_samples": count, "redraw": 0, "out": str(out)}
        generate(MoleculeOptions(**options, **asked))
    return read(out / "generated.extxyz", ":")


def valid(molecules: Iterable[Atoms]) -> list[bool]:
    """Return which molecules are valid by their bonds."""
    return [judge_bonds(structures_with_bonds(atoms))[0].valid for atoms in molecules]


def formulas(args: argparse.Namespace) -> dict[str, object]:
    """Return how many molecules have the formula, and are valid."""
    found = drawn(args, "formulas", 10 * len(FORMULAS), formula=",".join(FORMULAS))
    asked = [sorted(parse_formula(text)) for text in FORMULAS for _ in range(10)]
    made = [sorted(parse_formula(atoms.get_chemical_formula())) for atoms in found]
    right = sorted(made) == sorted(asked)
    return {
        "formulas": len(FORMULAS),
        "all compositions right": right,
        "valid %": share(valid(found)),
    }


def scaffolds(args: argparse.Namespace) -> dict[str, object]:
    """Return how many molecules keep their scaffold, and are valid as well."""
    kept, whole = list[bool](), list[bool]()
    for number, text in enumerate(SCAFFOLDS):
        (part,) = to_ase(read_scaffold(text).structures)
        found = drawn(args, f"scaffold-{number}", 5, scaffold=text)
        kept += [keeps(atoms, part) for atoms in found]
        whole += valid(found)
    both = [a and b for a, b in zip(kept, whole, strict=True)]
    names = ("scaffold kept %", "valid %", "both %")
    shares = zip(names, map(share, (kept, whole, both)), strict=True)
    return {"scaffolds": len(SCAFFOLDS), "molecules": len(both), **dict(shares)}


def keeps(atoms: Atoms, part: Atoms) -> bool:
    """Return whether the first atoms of a molecule are those of a scaffold, with their bonds."""
    first = atoms[: len(part)]
    bonds = {pair: order for pair, order in bonded(atoms).items() if max(pair) < len(part)}
    if list(first.numbers) != list(part.numbers) or bonds != bonded(part):
        return False
    target, moved = Atoms(part.numbers, part.positions), Atoms(first.numbers, first.positions)
    minimize_rotation_and_translation(target, moved)
    return bool(np.linalg.norm(target.positions - moved.positions, axis=1).max() < 0.05)


def bonded(atoms: Atoms) -> dict[frozenset[int], float]:
    """Return the orders of the bonds of a molecule."""
    structures = structures_with_bonds(atoms)
    assert structures.bonds is not None
    pairs = map(frozenset, structures.bonds.tolist())
    return dict(zip(pairs, structures.bond["order"].tolist(), strict=True))


def gaps(args: argparse.Namespace) -> Iterable[dict[str, object]]:
    """Give the errors of gaps, without a condition and with each guidance."""
    gap, error = predictor(args.qm9)
    print(f"\nMean absolute error of the predicted gap on QM9: {error:.3f} eV")
    targets = np.repeat(GAPS, 40)
    free = drawn(args, "free", len(targets))
    order = np.random.default_rng(0).permutation(len(targets))  # smaller molecules come first
    sets = {"none": [(target, [free[i]]) for target, i in zip(targets, order, strict=True)]}
    for guidance in args.guidance:
        more = {"guidance": guidance}
        sets[f"{guidance:g}"] = [
            (g, drawn(args, f"gap-{g:g}-{guidance:g}", 40, condition=[f"gap={g}"], **more))
            for g in GAPS
        ]
    for name, parts in sets.items():
        told = [(target, atoms) for target, molecules in parts for atoms in molecules]
        flags = zip(told, valid(a for _, a in told), strict=True)
        sound = [pair for pair, ok in flags if ok and not pair[1].arrays["formal_charge"].sum()]
        wrong = [abs(gap(atoms) - target) for target, atoms in sound]
        yield {
            "guidance": name,
            "valid and neutral %": 100 * len(sound) / len(told),
            "MAE of the gap (eV)": float(np.mean(wrong)),
            "median": float(np.median(wrong)),
        }


def predictor(qm9: Path) -> tuple[Predictor, float]:
    """Return what predicts gaps of QM9 from GFN2-xTB, and its mean absolute error on others."""
    rows = list(islice(read_qm9(qm9), 0, 1500 * EVERY, EVERY))
    features = np.array([gfn2(Atoms(row.numbers, row.positions)) for row in rows])
    true = np.array([row.properties["gap"] for row in rows])
    others = np.arange(len(rows)) % 3 == 0
    weights = np.linalg.lstsq(features[~others], true[~others], rcond=None)[0]
    wrong = np.abs(features[others] @ weights - true[others])
    return lambda atoms: float(gfn2(atoms) @ weights), float(wrong.mean())


def gfn2(atoms: Atoms) -> NDArray[np.float64]:
    """Return all products of two of: 1, four frontier orbitals of GFN2-xTB, counts of elements.

    Orbitals in eV, at the geometry as it is.
    """
    charge = float(atoms.arrays.get("formal_charge", np.zeros(1)).sum())
    calc = TBLite(method="GFN2-xTB", verbosity=0, charge=charge)
    calc.calculate(Atoms(atoms.numbers, atoms.positions), ["energy"])
    energies = np.sort(calc._res["orbital-energies"]) * Hartree
    filled = round(calc._res["orbital-occupations"].sum() / 2)
    counts = [(atoms.numbers == number).sum() for number in (1, 6, 7, 8, 9)]
    values = np.array([1.0, *energies[filled - 2 : filled + 2], *counts])
    return np.outer(values, values)[np.triu_indices(len(values))]


def share(flags: Sequence[bool]) -> float:
    """Return how many are true, in per cent."""
    return 100 * sum(flags) / len(flags)


if __name__ == "__main__":
    main()
