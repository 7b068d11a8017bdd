"""Hessians corrected by the change of the gradient along a step."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "D D"]
Vector = Float[np.ndarray, " D"]

# Changes smaller than this part of their factors are rounding errors.
TINY = 1e-8


def bfgs(hessian: Matrix, step: Vector, change: Vector) -> Matrix:
    """Return the Hessian after the update of Broyden, Fletcher, Goldfarb and Shanno.

    ``H + y yᵀ / (yᵀ s) - H s sᵀ H / (sᵀ H s)``, which maps the step s on the change y of the
    gradient. It keeps a Hessian positive; where the energy curves down along the step, or the
    Hessian says so, the update of `bofill` is taken instead.

    Args:
        hessian: Symmetric matrix [D, D], eV/Å².
        step: Step [D], Å.
        change: Change of the gradient along it [D], eV/Å.
    """
    image = hessian @ step
    curve, expected = float(step @ change), float(step @ image)
    least = TINY * float(np.linalg.norm(step) * np.linalg.norm(change))
    if curve <= least or expected <= least:
        return bofill(hessian, step, change)
    return hessian + np.outer(change, change) / curve - np.outer(image, image) / expected


def bofill(hessian: Matrix, step: Vector, change: Vector) -> Matrix:
    """Return the Hessian after the update of Bofill, which may turn the sign of a curvature.

    ``φ MS + (1 - φ) PSB`` with the symmetric rank-one update of Murtagh and Sargent, that of
    Powell, ``φ = (ξᵀ s)² / (|ξ|² |s|²)`` and the error ``ξ = y - H s`` (Bofill 1994,
    https://doi.org/10.1002/jcc.540150102).

    Args:
        hessian: Symmetric matrix [D, D], eV/Å².
        step: Step [D], Å.
        change: Change of the gradient along it [D], eV/Å.
    """
    error = change - hessian @ step
    size, length, along = float(error @ error), float(step @ step), float(error @ step)
    if length == 0 or np.sqrt(size) <= TINY * np.linalg.norm(change):
        return hessian
    mixing = along**2 / (size * length)
    cross = np.outer(error, step)
    powell = (cross + cross.T) / length - along * np.outer(step, step) / length**2
    if along**2 <= TINY**2 * size * length:
        return hessian + powell
    return hessian + mixing * np.outer(error, error) / along + (1 - mixing) * powell
