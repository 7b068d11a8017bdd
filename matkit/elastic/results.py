"""What `elastic` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from matkit.elastic.moduli import Moduli, moduli, smallest_stiffness
from matkit.simulate.results import Reason, Result
from matkit.units import GPA


@dataclass(frozen=True, kw_only=True)
class ElasticResult(Result):
    """Result of `elastic`.

    Attributes:
        atoms: Crystal whose elastic constants these are, with energy, forces and stress.
        reason: `converged`, `max_steps` (of the relaxation), or `done` if it was not relaxed.
        steps: Steps of the relaxation.
        stiffness: Elastic constants [6, 6] in Voigt order, made symmetric, eV/Å³.
        asymmetry: Largest difference across the diagonal before that, as a part of the largest
            constant; large if stresses are no derivatives of the energy.
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    stiffness: np.ndarray
    asymmetry: float
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
    def bulk_modulus(self) -> float:
        """Answer to a change of volume with the shape kept (Voigt's bulk modulus), eV/Å³."""
        return float(self.stiffness[:3, :3].sum()) / 9

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; elastic constants in GPa."""
        found = self.moduli
        names = ("bulk", "shear", "young")
        more = {} if found is None else {name: getattr(found, name) / GPA for name in names}
        if found is not None:
            more |= {"poisson": found.poisson, "anisotropy": found.anisotropy}
        return super().row() | {
            "stiffness": (self.stiffness / GPA).tolist(),
            "smallest_stiffness": self.smallest_stiffness / GPA,
            **more,
        }
