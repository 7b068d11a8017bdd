"""Teach dipoles of molecules of H, C, N and O by GFN2-xTB, and test on scaffolds never seen.

    python experiments/dipoles.py WHEEL OUT [--molecules 6000]

WHEEL is the file of `matkit data download qm9`. Molecules of QM9, as they are and displaced, get
dipoles by GFN2-xTB (`matkit label`); a network learns them with
`configs/training/gfn2-dipoles.yaml`, whose validation set shares no scaffold with the rest either.
Prints the mean absolute error of the components, in D, on a tenth of the scaffolds, which no
training reads, by kind of geometry, beside what is had by predicting zero. The same command goes on
after any end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.units import Debye
from common import matkit, save, table
from hip_dataset import command

from matkit import load_calculator
from matkit.builders.geometry import displaced
from matkit.builders.options import MoleculesOptions
from matkit.builders.smiles import part_of, rdkit, scaffold
from matkit.molecules.qm9 import read_qm9, read_qm9_labels

CONFIG = Path(__file__).parent.parent / "configs" / "training" / "gfn2-dipoles.yaml"
PARTS = MoleculesOptions(held_out=0.1)
AMPLITUDES = (0.05, 0.12)  # root mean square displacements, Å
ELEMENTS = {1, 6, 7, 8}
SEED = 0


def main() -> None:
    """Print the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", type=int, default=6000)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if not (given.out / "train.extxyz").exists():
        write_molecules(given.wheel, given.out, given.molecules)
    for part in ("held-out", "train"):
        how = ["--calculator", "gfn2", "--workers", given.workers]
        command("label", given.out / f"{part}.extxyz", given.out / part, *how)
    epochs = ["--max-num-epochs", given.epochs] if given.epochs else []
    learnt = given.out / "train" / "labels.extxyz"
    where = ["--work-dir", given.out, "--name", "dipoles", "--restart", "auto"]
    matkit("train", CONFIG, "--train-file", learnt, *where, *epochs, threads=1)
    model = given.out / "dipoles" / "model.safetensors"
    print(table(errors(model, read(given.out / "held-out" / "labels.extxyz", ":"))))


def write_molecules(wheel: Path, out: Path, count: int) -> None:
    """Write molecules drawn at random, three geometries each, by part of their scaffolds."""
    rng = np.random.default_rng(SEED)
    rows = zip(read_qm9(wheel), read_qm9_labels(wheel), strict=True)
    known = [(row, smiles) for row, (_, smiles, _) in rows if {*row.numbers.tolist()} <= ELEMENTS]
    parts: dict[str, list[Atoms]] = {"held-out": [], "train": []}
    for place in rng.permutation(len(known))[:count].tolist():
        row, smiles = known[place]
        molecule = rdkit().MolFromSmiles(smiles)
        if molecule is None:
            continue
        core = scaffold(molecule)
        atoms = Atoms(row.numbers, row.positions)
        kinds = [("relaxed", atoms)]
        kinds += [(f"rattled-{size:g}", displaced(atoms, size, rng)) for size in AMPLITUDES]
        for kind, one in kinds:
            one.info = {"config_type": kind, "group": core, "smiles": smiles}
        parts[part_of(core, PARTS)] += [one for _, one in kinds]
    for part, frames in parts.items():
        save(out / f"{part}.extxyz", frames)


def errors(model: Path, frames: list[Atoms]) -> list[dict[str, object]]:
    """Return the errors of a network, by kind of geometry."""
    calc = load_calculator("hip-gfn2-chno", device="cpu", dipole=model)
    wrong: dict[str, list[np.ndarray]] = {}
    true: dict[str, list[np.ndarray]] = {}
    for atoms in frames:
        label = np.array(atoms.info["REF_dipole"])
        predicted = calc.get_property("dipole", atoms)
        for kind in (str(atoms.info["config_type"]), "all"):
            wrong.setdefault(kind, []).append(predicted - label)
            true.setdefault(kind, []).append(label)
    return [
        {
            "geometries": kind,
            "molecules": len(wrong[kind]),
            "MAE, D": float(np.abs(wrong[kind]).mean() / Debye),
            "error of the norm, D": norm_error(wrong[kind], true[kind]),
            "MAE of zero, D": float(np.abs(true[kind]).mean() / Debye),
        }
        for kind in sorted(wrong)
    ]


def norm_error(wrong: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Return the mean absolute error of the length of dipoles, in D."""
    predicted, labels = np.array(wrong) + np.array(true), np.array(true)
    lengths = np.linalg.norm(predicted, axis=1) - np.linalg.norm(labels, axis=1)
    return float(np.abs(lengths).mean() / Debye)


if __name__ == "__main__":
    main()
