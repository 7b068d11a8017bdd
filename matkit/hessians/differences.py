"""Hessians by central differences of forces, from whatever gives the forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

# From positions [K, N, 3] in Å to forces [K, N, 3] in eV/Å.
ForcesAt = Callable[[np.ndarray], np.ndarray]
STEP = 1e-3


def central_differences(
    forces_at: ForcesAt,
    positions: Float[np.ndarray, "N 3"],
    step: float = STEP,
    free: Sequence[int] | None = None,
) -> Float[np.ndarray, "F M"]:
    """Return rows of the Hessian [3F, 3N] in eV/Å², not symmetrised.

    Args:
        forces_at: Gives the forces at many sets of positions.
        positions: Where to differentiate, Å.
        step: Displacement, Å.
        free: The F atoms that are displaced; None for all.
    """
    atoms = range(len(positions)) if free is None else free
    rows = [3 * atom + axis for atom in atoms for axis in range(3)]
    moves = step * np.eye(positions.size)[rows].reshape(-1, *positions.shape)
    forces = forces_at(positions + np.concatenate([moves, -moves]))
    plus, minus = forces.reshape(2, len(rows), -1)
    difference: np.ndarray = (minus - plus) / (2 * step)
    return difference


def completed(
    rows: Float[np.ndarray, "F M"], n_atoms: int, free: Sequence[int] | None = None
) -> Float[np.ndarray, "M M"]:
    """Return the symmetric Hessian [3N, 3N] of which the rows of some atoms are known.

    Args:
        rows: Those of every free atom, in their order.
        n_atoms: Number of atoms N.
        free: The atoms whose rows are known, None for all; what others do to each other is zero.
    """
    known = np.repeat(np.isin(np.arange(n_atoms), range(n_atoms) if free is None else free), 3)
    matrix = np.zeros((len(known), len(known)))
    matrix[known] = rows
    complete: np.ndarray = (matrix + matrix.T) / np.where(np.outer(known, known), 2, 1)
    return complete


def symmetrised(
    hessian: Float[np.ndarray, "M M"],
) -> tuple[Float[np.ndarray, "M M"], float, float]:
    """Return the symmetric part, and the mean and the largest of |H - H^T| in eV/Å²."""
    asymmetry = np.abs(hessian - hessian.T)
    return (hessian + hessian.T) / 2, float(asymmetry.mean()), float(asymmetry.max())
