"""What `qha` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.simulate.results import Reason, Result
from matkit.units import GPA

ROOM = 300.0


@dataclass(frozen=True, kw_only=True)
class QHAResult(Result):
    """Result of `qha`; everything is that of one primitive cell, at zero pressure.

    Attributes:
        atoms: Crystal that the volumes are taken from, with energy and forces.
        reason: `converged`, `max_steps` (of a relaxation), or `done` if nothing was relaxed.
        steps: Steps of the relaxation of that crystal.
        primitive_atoms: Atoms of the primitive cell.
        supercell: How often `atoms` is repeated along each lattice vector.
        volumes: Volumes with phonons [P], Å³.
        free_energies: Their energy and free energy of vibrations [T, P], eV.
        temperatures: [T], K.
        volume: Volume at each temperature [T], Å³.
        expansion: Thermal expansion of the volume [T], 1/K.
        gibbs: Gibbs energy [T], eV.
        entropy: [T], eV/K.
        heat_capacity: Heat capacity at constant pressure [T], eV/K.
        bulk_modulus: Isothermal bulk modulus [T], eV/Å³.
        grueneisen: Thermodynamic Grüneisen parameter [T].
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    primitive_atoms: int
    supercell: tuple[int, int, int]
    volumes: Float[np.ndarray, " P"]
    free_energies: Float[np.ndarray, "T P"]
    temperatures: Float[np.ndarray, " T"]
    volume: Float[np.ndarray, " T"]
    expansion: Float[np.ndarray, " T"]
    gibbs: Float[np.ndarray, " T"]
    entropy: Float[np.ndarray, " T"]
    heat_capacity: Float[np.ndarray, " T"]
    bulk_modulus: Float[np.ndarray, " T"]
    grueneisen: Float[np.ndarray, " T"]
    message: str = ""

    def at(self, kelvin: float) -> dict[str, float]:
        """Return all quantities at a temperature by name, interpolated, the modulus in GPa."""
        names = ("volume", "expansion", "gibbs", "entropy", "heat_capacity", "grueneisen")
        values = {name: self._at(kelvin, getattr(self, name)) for name in names}
        return values | {"bulk_modulus": self._at(kelvin, self.bulk_modulus) / GPA}

    def _at(self, kelvin: float, values: np.ndarray) -> float:
        return float(np.interp(kelvin, self.temperatures, values))

    @property
    def room_temperature(self) -> float:
        """300 K, or the highest temperature if that is lower."""
        return min(ROOM, float(self.temperatures[-1]))

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; bulk moduli in GPa."""
        room = self.room_temperature
        return super().row() | {
            "supercell": list(self.supercell),
            "volumes": self.volumes.tolist(),
            "temperature": room,
            **self.at(room),
            "volume_at_zero": float(self.volume[0]),
            "highest_temperature": float(self.temperatures[-1]),
        }
