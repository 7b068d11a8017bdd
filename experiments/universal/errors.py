"""Errors on held-out DFT frames and on held-out labels of the teacher, model by model.

    python -m universal.errors OUT MODEL... [--chgnet PYTHON] [--limit 20]

OUT is the folder of `universal.dataset`. Mean absolute errors: of the energy per atom in meV, as it
is and after one reference energy per element was fitted to the errors (all DFT families together,
the teacher's labels apart; few frames are explained entirely); of the components of forces in eV/Å
and of stresses in GPa, of which some of mptrj-highest-stress-1k are wrong (see crystals.py).
Predictions are kept in OUT/predictions and not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from common import save, table
from scipy.optimize import least_squares

from matkit.units import GPA

HERE = Path(__file__).parent
TEACHER = "teacher"
LINEAR = 0.02  # eV/atom; larger errors count linearly in the fit of reference energies


@dataclass(frozen=True)
class Errors:
    """Errors of a model on a set; NaN where there is no label or no prediction.

    Attributes:
        counts: Atoms of each element [B, 119].
        energy: Of the total energies [B], eV.
        forces: Components [N, 3], eV/Å.
        stress: Components [B, 3, 3], eV/Å³.
    """

    counts: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    stress: np.ndarray


def labels(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy, forces and stress [3, 3] of a frame; NaN for a missing stress."""
    if "REF_energy" in atoms.info:
        stress = atoms.info.get("REF_stress", np.full(9, np.nan))
        return atoms.info["REF_energy"], atoms.arrays["REF_forces"], np.reshape(stress, (3, 3))
    given = atoms.calc.results
    stress = atoms.get_stress(voigt=False) if "stress" in given else np.full((3, 3), np.nan)
    return given["energy"], given["forces"], stress


def sets(out: Path, limit: int | None) -> dict[str, list[Atoms]]:
    """Return the held-out sets; the first frames only of each if there is a limit.

    Sets with labels of the teacher have its name first, those of surroundings their kind too.
    """
    found = {path.stem.removeprefix("test-"): path for path in (out / "dft").glob("test-*.extxyz")}
    taught = out / "labels" / "test" / "labels.extxyz"
    if taught.exists():
        found[TEACHER] = taught
    taken = {name: read(path, ":") for name, path in sorted(found.items())}
    around = out / "labels" / "test_surroundings" / "labels.extxyz"
    for atoms in read(around, ":") if around.exists() else ():
        kind = Path(atoms.info["parent"]).stem.removeprefix("test-")
        taken.setdefault(f"{TEACHER}, {kind}", []).append(atoms)
    return {name: frames[:limit] for name, frames in taken.items()}


def is_taught(name: str) -> bool:
    """Return whether a set has labels of the teacher, not of DFT."""
    return name.startswith(TEACHER)


def predicted(out: Path, model: str, frames: Sequence[Atoms], chgnet: str) -> dict:
    """Return what a model says of some frames, which is computed once."""
    weights = Path(model).read_bytes() if Path(model).is_file() else model.encode()
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames]
    what = b"".join(a.numbers.tobytes() + a.positions.tobytes() for a in bare)
    name = hashlib.sha256(weights + what).hexdigest()[:16]
    path = out / "predictions" / f"{Path(model).stem}-{name}.npz"
    if not path.exists():
        given = save(path.with_suffix(".extxyz"), bare)
        python = chgnet if model == "chgnet" else sys.executable
        command = [python, str(HERE / "predict.py"), model, str(given), str(path)]
        subprocess.run(command, check=True, env=os.environ)
    return dict(np.load(path))


def compared(frames: Sequence[Atoms], found: dict) -> Errors:
    """Return errors: prediction minus label."""
    energy, forces, stress = zip(*map(labels, frames), strict=True)
    return Errors(
        np.array([np.bincount(atoms.numbers, minlength=119) for atoms in frames]),
        found["energy"] - np.array(energy),
        found["forces"] - np.concatenate(forces),
        found["stress"] - np.stack(stress),
    )


def references(parts: Sequence[Errors]) -> np.ndarray:
    """Return the energy of each element [119] that explains most of the errors, eV.

    Errors count linearly where they are large, so that ordinary frames decide and not hot ones.
    """
    counts, energy = (np.concatenate([getattr(p, k) for p in parts]) for k in ("counts", "energy"))
    good = np.isfinite(energy)
    present = counts.any(axis=0)
    atoms = counts[good].sum(axis=1)
    weighted, target = counts[good][:, present] / atoms[:, None], energy[good] / atoms
    start = np.linalg.lstsq(weighted, target, rcond=None)[0]
    found = least_squares(
        lambda x: weighted @ x - target,
        start,
        jac=lambda x: weighted,
        loss="soft_l1",
        f_scale=LINEAR,
    )
    fitted = np.zeros(present.size)
    fitted[present] = found.x
    return fitted


def row(model: str, name: str, errors: Errors, fitted: np.ndarray) -> dict[str, object]:
    """Return the mean absolute errors of a model on a set."""
    atoms = errors.counts.sum(axis=1)
    left = errors.energy - errors.counts @ fitted
    return {
        "set": name,
        "model": Path(model).stem,
        "frames": len(atoms),
        "failed": int(np.isnan(errors.energy).sum()),
        "energy meV/atom": 1e3 * float(np.nanmean(np.abs(errors.energy) / atoms)),
        "energy fitted meV/atom": 1e3 * float(np.nanmean(np.abs(left) / atoms)),
        "force eV/Å": float(np.nanmean(np.abs(errors.forces))),
        "stress GPa": float(np.nanmean(np.abs(errors.stress))) / GPA,
    }


def rows_of(model: str, given: argparse.Namespace, frames: dict) -> list[dict[str, object]]:
    """Return the rows of one model, and the mean over the DFT families."""
    found = {
        name: compared(part, predicted(given.out, model, part, given.chgnet))
        for name, part in frames.items()
    }
    real = [errors for name, errors in found.items() if not is_taught(name)]
    rows = []
    for name, errors in found.items():
        fitted = references([errors] if is_taught(name) else real)
        rows.append(row(model, name, errors, fitted))
    families = [one for one in rows if not is_taught(str(one["set"]))]
    mean: dict[str, object] = {"set": "mean of families", "model": Path(model).stem}
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    mean |= {name: float(np.mean([one[name] for one in families])) for name in numbers}
    return [*rows, mean]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", help="names or files; chgnet for CHGNet 0.3.0")
    parser.add_argument("--chgnet", default=sys.executable, help="python that has chgnet")
    parser.add_argument("--limit", type=int, help="frames of each set")
    parser.add_argument("--json", type=Path, default=Path("../results/universal-errors.json"))
    given = parser.parse_args()
    frames = sets(given.out, given.limit)
    rows = [row for model in given.models for row in rows_of(model, given, frames)]
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
