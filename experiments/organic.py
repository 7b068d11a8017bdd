"""Errors of a potential of molecules on scaffolds it never saw, and on the complexes of S22.

    python organic.py OUT MODEL

OUT is the folder of `organic_dataset.py`. Forces and energies of molecules, ions and pairs of
held-out scaffolds beside their labels, forces by element too; second derivatives of relaxed ones;
interaction energies of those pairs, and of the 22 complexes at five distances, of the same
geometry, in kcal/mol.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read
from common import table
from hessians import compare, structures, summary

import matkit as mk
from matkit.label import read_hessians
from matkit.simulate import singlepoint_many

SETS = ("molecules", "ions", "dimers", "rings", "nearer")
KCAL = units.kcal / units.mol


def main() -> None:
    """Print tables and write them to OUT/organic.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    args = parser.parse_args()
    calculator = mk.load_calculator(args.model)
    found, rows = {}, list[dict[str, object]]()
    for name in SETS:
        path = args.folder / "labels" / f"{name}-held-out" / "labels.extxyz"
        if not path.stat().st_size:  # of few molecules none may be held out
            continue
        labelled = read(path, ":")
        made = predicted(labelled, calculator)
        found[name] = errors(labelled, made)
        if name in ("dimers", "rings", "nearer"):
            rows.append(pairs_apart(f"held-out {name}", labelled, made))
    print(table([{"set": name, **row} for name, (row, _) in found.items()]))
    elements = [{"set": name, **forces} for name, (_, forces) in found.items()]
    print(f"\nForces by element, meV/Å\n\n{table(elements)}")
    curvature = curvatures(args.folder / "labels" / "hessians", args.model)
    print(f"\nSecond derivatives\n\n{table([curvature])}")
    complexes = read(args.folder / "labels" / "s22" / "labels.extxyz", ":")
    rows += interactions(complexes, predicted(complexes, calculator))
    print(f"\nInteraction energies, kcal/mol\n\n{table(rows)}")
    document: dict[str, object] = {"model": args.model}
    document |= {name: {"errors": row, "elements": forces} for name, (row, forces) in found.items()}
    document |= {"interactions": rows, "second derivatives": curvature}
    (args.folder / "organic.json").write_text(json.dumps(document, indent=1))


def predicted(labelled: Sequence[Atoms], calculator: mk.MatkitCalculator) -> list[Atoms]:
    """Return the structures with energies and forces of the potential."""
    bare = []
    for atoms in labelled:
        one = Atoms(atoms.numbers, atoms.positions)
        one.info = {key: atoms.info[key] for key in ("charge",) if key in atoms.info}
        bare.append(one)
    return [result.atoms for result in singlepoint_many(bare, calculator, stress=False)]


def errors(
    labelled: Sequence[Atoms], made: Sequence[Atoms]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean absolute errors of a set, and those of forces by element."""
    energies = [
        (b.get_potential_energy() - a.info["REF_energy"]) / len(a)
        for a, b in zip(labelled, made, strict=True)
    ]
    wrong = [b.get_forces() - a.arrays["REF_forces"] for a, b in zip(labelled, made, strict=True)]
    forces = 1e3 * np.abs(np.concatenate(wrong)).mean(axis=1)
    symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in labelled])
    row = {
        "structures": len(labelled),
        "E, meV/atom": 1e3 * float(np.abs(energies).mean()),
        "F, meV/Å": float(forces.mean()),
    }
    return row, {e: float(forces[symbols == e].mean()) for e in sorted(set(symbols.tolist()))}


def curvatures(folder: Path, model: str) -> dict[str, object]:
    """Return errors of Hessians of relaxed molecules, and of what follows from them."""
    found, calculator = read_hessians(folder), mk.load_calculator(model, dtype="float64")
    rows = []
    for i, atoms in enumerate(structures(found)):
        ours = calculator.get_hessian(atoms, method="autograd")
        rows.append(compare(atoms, found.hessian(i).numpy(), ours))
    return summary(rows)


def pairs_apart(what: str, labelled: Sequence[Atoms], made: Sequence[Atoms]) -> dict[str, object]:
    """Return the error of the interactions of pairs, each followed by the same two apart."""
    both = [
        [a.info["REF_energy"], b.get_potential_energy()]
        for a, b in zip(labelled, made, strict=True)
    ]
    groups = [atoms.info["group"] for atoms in labelled]
    pairs = [i for i in range(len(groups) - 1) if groups[i] == groups[i + 1]]
    return row_of(what, [np.subtract(both[i], both[i + 1]) for i in pairs])


def row_of(what: object, values: Sequence[np.ndarray]) -> dict[str, object]:
    """Return the error of interaction energies, of labels and predictions [2] each, eV."""
    expected, got = np.array(values).T / KCAL
    mae, size = (float(np.abs(part).mean()) for part in (got - expected, expected))
    return {"distance": what, "complexes": len(values), "mean size": size, "MAE": mae}


def interactions(labelled: Sequence[Atoms], made: Sequence[Atoms]) -> list[dict[str, object]]:
    """Return errors of interaction energies by distance: 1 is that of the minimum."""
    pairs = list(zip(labelled, made, strict=True))
    alone: dict[str, np.ndarray] = {}
    for label, one in pairs:
        if label.info["config_type"] == "monomer":
            both = np.array([label.info["REF_energy"], one.get_potential_energy()])
            alone[label.info["group"]] = alone.get(label.info["group"], 0.0) + both
    wrong: dict[float, list[np.ndarray]] = {}
    for label, one in pairs:
        if label.info["config_type"] == "complex":
            both = np.array([label.info["REF_energy"], one.get_potential_energy()])
            wrong.setdefault(label.info["factor"], []).append(both - alone[label.info["group"]])
    return [row_of(factor, values) for factor, values in sorted(wrong.items())]


if __name__ == "__main__":
    main()
