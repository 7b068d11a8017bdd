"""The turned copy of a molecule that a calculator gives the lowest energy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize

from matkit.nn.lowest_orientations import rotation

# Copies of the grid, those of lowest energy, from which the minimum is sought; and the slope at
# which it counts as reached, eV/rad.
STARTS, FLAT_SLOPE = 6, 1e-7

# From coordinates [N, 3] in Å to the energy in eV and forces [N, 3] in eV/Å.
EnergyAndForces = Callable[[np.ndarray], tuple[float, np.ndarray]]


def lowest_turn(
    evaluate: EnergyAndForces, positions: np.ndarray, matrices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix of the copy of lowest energy, and the energies of the grid in eV [K].

    Args:
        evaluate: The calculator.
        positions: Coordinates of the molecule [N, 3], Å, about its centre.
        matrices: Orientations of the grid [K, 3, 3]; rows of coordinates times them.
    """
    energies = np.array([evaluate(positions @ matrix)[0] for matrix in matrices])
    ends = [
        _descended(evaluate, positions, matrices[start]) for start in np.argsort(energies)[:STARTS]
    ]
    return min(ends, key=lambda end: end[0])[1], energies


def _descended(
    evaluate: EnergyAndForces, positions: np.ndarray, matrix: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the energy of the next minimum over turns, and its matrix."""

    def turned(angles: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        turn = torch.from_numpy(angles).view(1, 3).requires_grad_()
        return turn, torch.from_numpy(matrix) @ rotation(turn)[0]

    def slope(angles: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            turn, now = turned(angles)
            energy, forces = evaluate(positions @ now.detach().numpy())
            (gradient,) = torch.autograd.grad(now, turn, torch.from_numpy(-positions.T @ forces))
        return energy, gradient[0].numpy()

    found = minimize(slope, np.zeros(3), jac=True, method="BFGS", options={"gtol": FLAT_SLOPE})
    return float(found.fun), turned(found.x)[1].detach().numpy()
