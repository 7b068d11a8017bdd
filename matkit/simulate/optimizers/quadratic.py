"""Steps on a quadratic model of the energy, in the coordinates of its eigenvectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

# Along a coordinate with a curvature below the first, eV/Å², and no gradient beyond the second,
# eV/Å, the structure is on a ridge, mostly by symmetry; the second is then taken as gradient.
STUCK_CURVATURE, STUCK_GRADIENT = -0.05, 1e-6

Vector = Float[np.ndarray, " K"]
Steps = Callable[[float], np.ndarray]


def restricted_step(
    values: Vector, gradient: Vector, radius: float, uphill: int | None = None
) -> Vector:
    """Return the step to a stationary point of the model that is not longer than `radius`.

    Where the curvatures are what they should be, and it is short enough, this is the step of
    Newton, ``-g / h``. Otherwise it comes from the lowest eigenvector of ``[[h, g], [g, 0]]``
    (rational function optimisation, Banerjee et al. 1985, https://doi.org/10.1021/j100247a015),
    with ``[[h/α, g/√α], [g/√α, 0]]`` and the least α ≥ 1 for which it is short enough (restricted
    step, Besalú and Bofill 1998, https://doi.org/10.1007/s002140050387). For a saddle point the
    energy is maximised along one coordinate and minimised along the others, with the same α.

    Args:
        values: Eigenvalues h of the Hessian [K], eV/Å².
        gradient: Gradient g along its eigenvectors [K], eV/Å.
        radius: Largest norm of the step, Å.
        uphill: Coordinate along which to maximise; None for a minimum.

    Returns:
        Step along the eigenvectors [K], Å.
    """
    signs = np.ones(len(values))
    if uphill is not None:
        signs[uphill] = -1  # the maximum of E is the minimum of -E
    h, g = signs * values, signs * gradient
    if (h > 0).all() and np.linalg.norm(g / h) <= radius:
        return -g / h
    g = np.where((h < STUCK_CURVATURE) & (np.abs(g) < STUCK_GRADIENT), STUCK_GRADIENT, g)
    parts = [signs > 0, signs < 0]

    def step(log_alpha: float) -> np.ndarray:
        move = np.zeros(len(h))
        for part in parts:
            move[part] = _rational(h[part], g[part], float(np.exp(log_alpha)))
        return move

    return _shortened(step, radius)


def _shortened(step: Steps, radius: float) -> np.ndarray:
    """Return the step for the least logarithm of α, from 0 on, that is not too long."""
    high = 0.0
    while np.linalg.norm(step(high)) > radius:
        high += 2.0
    if high == 0.0:
        return step(high)
    alpha = brentq(lambda x: np.linalg.norm(step(x)) - radius, high - 2.0, high, xtol=1e-10)
    return step(alpha)


def _rational(h: np.ndarray, g: np.ndarray, alpha: float) -> np.ndarray:
    """Return the step of rational function optimisation for scaled coordinates."""
    if not len(h) or not g.any():
        return np.zeros(len(h))
    size = len(h)
    augmented = np.zeros((size + 1, size + 1))
    augmented[np.arange(size), np.arange(size)] = h / alpha
    augmented[size, :size] = augmented[:size, size] = g / np.sqrt(alpha)
    lowest = np.linalg.eigh(augmented)[1][:, 0]
    step: np.ndarray = lowest[:size] / lowest[size] / np.sqrt(alpha)
    return step


def model_changes(values: Vector, gradient: Vector, step: Vector) -> Vector:
    """Return by how much the model's energy changes along each eigenvector [K], eV."""
    return step * gradient + values * step**2 / 2
