"""What `neb` returns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.simulate.results import Reason, Result
from matkit.transition.band import Band, way


@dataclass(frozen=True, kw_only=True)
class NEBResult(Result):
    """Result of `neb`.

    Attributes:
        atoms: Highest image, with energy and forces; at the saddle point if it climbed.
        reason: `converged` or `max_steps` (of the band, or of an end before).
        steps: Steps of the band.
        max_force: Largest force on the band, eV/Å.
        band: The path, both ends included.
        messages: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    max_force: float
    band: Band
    messages: list[str]

    @property
    def energies(self) -> Float[np.ndarray, " I"]:
        """Energies of all images above the initial structure [I], eV."""
        energies = np.array([frame.get_potential_energy() for frame in self.band.frames])
        above: np.ndarray = energies - energies[0]
        return above

    @property
    def lengths(self) -> Float[np.ndarray, " I"]:
        """Length of the path up to each image [I], Å."""
        steps = [np.linalg.norm(way(a, b)) for a, b in pairwise(self.band.frames)]
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def barrier(self) -> float:
        """Energy of the highest image above the initial structure, eV; 0 if that is highest."""
        return float(self.energies.max())

    @property
    def reverse_barrier(self) -> float:
        """Energy of the highest image above the final structure, eV."""
        return float(self.energies.max() - self.energies[-1])

    @property
    def reaction_energy(self) -> float:
        """Energy of the final structure above the initial one, eV."""
        return float(self.energies[-1])

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; energies in eV, lengths in Å."""
        return super().row() | {
            "formula": str(self.atoms.symbols),
            "messages": self.messages,
            "barrier": self.barrier,
            "reverse_barrier": self.reverse_barrier,
            "reaction_energy": self.reaction_energy,
            "saddle": int(self.energies.argmax()),
            "energies": self.energies.tolist(),
            "lengths": self.lengths.tolist(),
        }
