"""What follows from a Kohn-Sham matrix: orbitals, density and charges of a closed shell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh


def orbitals(
    hamiltonian: Float[np.ndarray, "M M"], overlap: Float[np.ndarray, "M M"]
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, "M M"]]:
    """Solve ``F C = S C ε``: return the levels [M] in the unit of F and the orbitals as columns."""
    levels, coefficients = eigh(hamiltonian, overlap)
    return levels, coefficients


def density(coefficients: Float[np.ndarray, "M M"], electrons: int) -> Float[np.ndarray, "M M"]:
    """Return the density matrix ``2 Σ c cᵀ`` over the orbitals that are occupied."""
    occupied = coefficients[:, : electrons // 2]
    return np.asarray(2 * occupied @ occupied.T)


def mulliken_charges(
    density: Float[np.ndarray, "M M"],
    overlap: Float[np.ndarray, "M M"],
    species: Sequence[int],
    widths: Sequence[int],
) -> Float[np.ndarray, " N"]:
    """Return the charge of every atom, e: its nuclear charge minus its share of the electrons.

    Args:
        density: Density matrix.
        overlap: Overlap of the orbitals.
        species: Atomic numbers [N].
        widths: Orbitals of each atom [N].
    """
    populations = np.einsum("ij,ji->i", density, overlap)
    begins = np.cumsum([0, *widths[:-1]])
    return np.asarray(species, dtype=float) - np.add.reduceat(populations, begins)
