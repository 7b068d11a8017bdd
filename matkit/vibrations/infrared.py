"""How strongly modes absorb infrared light, from the derivatives of the dipole."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import Debye
from jaxtyping import Float

from matkit.hessians.modes import NormalModes

# Displacement of an atom, Å.
STEP = 0.01
# Absorption in km/mol of a squared derivative of 1 e²/amu: π N_A / (3 c²) / (4 π ε0), by which
# 1 (D/Å)²/amu is 42.2561 km/mol.
ABSORPTION = 42.2561 / Debye**2


def gives_dipoles(calc: BaseCalculator) -> bool:
    """Return whether a calculator gives dipole moments."""
    return "dipole" in getattr(calc, "implemented_properties", ())


def infrared_intensities(
    atoms: Atoms, modes: NormalModes, calc: BaseCalculator
) -> Float[np.ndarray, " M"]:
    """Return the integrated absorption of every mode [M] in km/mol (double harmonic approximation).

    Args:
        atoms: Molecule in a stationary point.
        modes: Its normal modes.
        calc: Calculator with dipoles.
    """
    slopes = dipole_derivatives(atoms, calc)
    along = np.einsum("mix,ixy->my", modes.vectors, slopes) / np.sqrt(modes.reduced_masses)[:, None]
    absorption: np.ndarray = ABSORPTION * (along**2).sum(axis=1)
    return absorption


def dipole_derivatives(atoms: Atoms, calc: BaseCalculator) -> Float[np.ndarray, "N 3 3"]:
    """Return how the dipole changes with every coordinate [N, 3, 3] in e, by central differences.

    Args:
        atoms: Molecule; it is not changed.
        calc: Calculator with dipoles.
    """
    moved = atoms.copy()
    slopes = np.zeros((len(atoms), 3, 3))
    for atom, axis in np.ndindex(len(atoms), 3):
        ends = []
        for sign in (1, -1):
            moved.positions[atom, axis] = atoms.positions[atom, axis] + sign * STEP
            ends.append(np.array(calc.get_property("dipole", moved)))
        moved.positions[atom, axis] = atoms.positions[atom, axis]
        slopes[atom, axis] = (ends[0] - ends[1]) / (2 * STEP)
    return slopes
