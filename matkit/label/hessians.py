"""Hessians as labels: central differences of forces, and how far they are from symmetric."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from matkit.label.labels import Array, Engine


def difference_hessian(engine: Engine, atoms: Atoms, step: float) -> Array:
    """Return the Hessian [3N, 3N] in eV/Å² by central differences, not symmetrised.

    Args:
        engine: What gives the forces.
        atoms: Structure.
        step: Displacement, Å.
    """
    n = 3 * len(atoms)
    moves = step * np.eye(n).reshape(n, -1, 3)
    positions = atoms.positions + np.concatenate([moves, -moves])
    plus, minus = engine.displaced_forces(atoms, positions).reshape(2, n, n)
    difference: Array = (minus - plus) / (2 * step)
    return difference


def symmetrised(hessian: Array) -> tuple[Array, float, float]:
    """Return the symmetric part, and the mean and the largest of |H - H^T| in eV/Å²."""
    asymmetry = np.abs(hessian - hessian.T)
    return (hessian + hessian.T) / 2, float(asymmetry.mean()), float(asymmetry.max())
