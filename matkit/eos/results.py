"""What `eos` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.eos.fit import EquationFit
from matkit.eos.volumes import energies
from matkit.simulate.results import Reason, Result


@dataclass(frozen=True, kw_only=True)
class EOSResult(Result):
    """Result of `eos`.

    Attributes:
        atoms: Crystal that the volumes are taken from, with energy and forces.
        reason: `converged`, `max_steps` (of a relaxation), or `done` if nothing was relaxed.
        steps: Steps of the relaxation of that crystal.
        frames: The crystal at every volume, from the smallest on, with energy and forces.
        fit: The equation of state of the whole cell.
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    frames: list[Atoms]
    fit: EquationFit
    message: str = ""

    @property
    def volumes(self) -> Float[np.ndarray, " P"]:
        """Volumes of the cell [P], Å³."""
        return np.array([frame.get_volume() for frame in self.frames])

    @property
    def energies(self) -> Float[np.ndarray, " P"]:
        """Energies of the cell [P], eV."""
        return energies(self.frames)

    def row(self) -> dict[str, Any]:
        """Return the most important numbers of the cell, fit for JSON; the bulk modulus in GPa."""
        curve = {"volumes": self.volumes.tolist(), "energies": self.energies.tolist()}
        return super().row() | {"atoms": len(self.atoms)} | self.fit.row() | curve
