"""What `elastic` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.elastic.moduli import Moduli, moduli, smallest_stiffness
from matkit.simulate.results import Reason, Result
from matkit.units import GPA


@dataclass(frozen=True, kw_only=True)
class ElasticResult(Result):
    """Result of `elastic`.

    Attributes:
        atoms: Crystal whose elastic constants these are, with energy, forces and stress.
        reason: `converged`, `max_steps` (of a relaxation), or `done` if nothing was relaxed.
        steps: Steps of the relaxation.
        strains: Number of strained cells that were computed; symmetry gives the others.
        stiffness: Elastic constants [6, 6] in Voigt order, made symmetric, eV/Å³.
        asymmetry: Largest difference across the diagonal before that, as a part of the largest
            constant; large if stresses are no derivatives of the energy.
        limit: The same at vanishing strain, by cubic fits; other than `stiffness` if the strains
            are so large that the stress is not linear in them.
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    strains: int
    stiffness: np.ndarray
    asymmetry: float
    limit: np.ndarray
    message: str = ""

    @property
    def moduli(self) -> Moduli | None:
        """Moduli of a polycrystal, eV/Å³; None if the crystal is not stable."""
        return moduli(self.stiffness)

    @property
    def smallest_stiffness(self) -> float:
        """Lowest eigenvalue of the elastic constants, eV/Å³; stable if above zero."""
        return smallest_stiffness(self.stiffness)

    @property
    def stable(self) -> bool:
        """Whether the crystal withstands every small strain (Born's criterion)."""
        return self.smallest_stiffness > 0

    @property
    def nonlinearity(self) -> Float[np.ndarray, "6"]:
        """By which part of itself each constant of the diagonal differs from its limit [6]."""
        diagonal = np.diag(self.stiffness)
        apart: np.ndarray = np.abs(np.diag(self.limit) - diagonal) / np.abs(diagonal)
        return apart

    @property
    def bulk_modulus(self) -> float:
        """Answer to a change of volume with the shape kept (Voigt's bulk modulus), eV/Å³."""
        return float(self.stiffness[:3, :3].sum()) / 9

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; elastic constants in GPa."""
        known = self.moduli
        return super().row() | {
            "stiffness": (self.stiffness / GPA).tolist(),
            "limit": (self.limit / GPA).tolist(),
            "smallest_stiffness": self.smallest_stiffness / GPA,
            "stable": self.stable,
            **({} if known is None else known.row(GPA)),
        }
