"""What follows from a Kohn-Sham matrix: orbitals, density and charges of a closed shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh


@dataclass(frozen=True, eq=False)
class ElectronicStates:
    """Orbitals of a matrix and which of them are occupied.

    Attributes:
        hamiltonian: Kohn-Sham matrix [M, M], eV.
        overlap: Overlap of the orbitals [M, M].
        levels: Energies of the orbitals [M], eV.
        coefficients: Orbitals, as columns [M, M].
        electrons: How many there are.
    """

    hamiltonian: Float[np.ndarray, "M M"]
    overlap: Float[np.ndarray, "M M"]
    levels: Float[np.ndarray, " M"]
    coefficients: Float[np.ndarray, "M M"]
    electrons: int

    @property
    def density(self) -> Float[np.ndarray, "M M"]:
        """Density matrix."""
        return density(self.coefficients, self.electrons)

    @property
    def gap(self) -> float:
        """From the highest occupied orbital to the next, eV; infinite if all are occupied."""
        levels = np.append(self.levels, np.inf)
        return float(levels[self.electrons // 2] - levels[self.electrons // 2 - 1])


def states_of(
    hamiltonian: Float[np.ndarray, "M M"], overlap: Float[np.ndarray, "M M"], electrons: int
) -> ElectronicStates:
    """Return the states of a matrix in eV, given its orbitals' overlap."""
    return ElectronicStates(hamiltonian, overlap, *orbitals(hamiltonian, overlap), electrons)


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
