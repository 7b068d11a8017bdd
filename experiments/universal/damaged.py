"""Frames of which a potential is worse than the one that it was trained further from.

They are rehearsed: learnt from once more, so that the further training does not cost what the
parent knew (the samples that a fine-tuning damages, as mix-cd chooses them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from matkit import load
from matkit.data.ase import from_ase
from matkit.evaluator import predict

MARGIN = 0.005  # eV/Å; smaller differences of mean absolute errors are left alone
BATCH_ATOMS = 500


def forces_of(model: str, frames: Sequence[Atoms]) -> np.ndarray:
    """Return the forces of a model on all atoms of some frames in turn [N, 3], eV/Å."""
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames]
    potential = load(model).float()
    found = predict(potential, from_ase(bare), ("forces",), batch_atoms=BATCH_ATOMS)
    return found["forces"].numpy()


def force_errors(frames: Sequence[Atoms], forces: np.ndarray) -> np.ndarray:
    """Return the mean absolute error of the components of each frame's forces [B], eV/Å.

    Args:
        frames: Frames with labels, `REF_forces`.
        forces: Predicted ones of all atoms in turn [N, 3], eV/Å.
    """
    ends = np.cumsum([len(atoms) for atoms in frames])
    parts = np.split(forces, ends[:-1])
    pairs = zip(frames, parts, strict=True)
    return np.array([np.abs(part - atoms.arrays["REF_forces"]).mean() for atoms, part in pairs])


def damaged(student: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Return whether each frame's error of the student is larger than the parent's."""
    return np.asarray(student > parent + MARGIN)


def by_family(
    frames: Sequence[Atoms], student: np.ndarray, parent: np.ndarray
) -> list[dict[str, object]]:
    """Return the errors of both by kind of frame, and how many frames are damaged."""
    kinds = np.array([str(atoms.info["config_type"]) for atoms in frames])
    rows: list[dict[str, object]] = []
    for kind in sorted({*kinds.tolist()}):
        chosen = kinds == kind
        rows.append(
            {
                "kind": kind,
                "frames": int(chosen.sum()),
                "student eV/Å": float(student[chosen].mean()),
                "parent eV/Å": float(parent[chosen].mean()),
                "damaged": float(damaged(student, parent)[chosen].mean()),
            }
        )
    return rows
