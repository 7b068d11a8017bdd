"""Equations of state by ASE, fitted to energies over volumes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.eos import EquationOfState
from jaxtyping import Float
from scipy.optimize import OptimizeWarning

from matkit.errors import SimulationError
from matkit.units import GPA


@dataclass(frozen=True)
class EquationFit:
    """A fitted equation of state.

    Attributes:
        equation: Its name.
        volume: Volume of the minimum, Å³.
        energy: Energy of the minimum, eV.
        bulk_modulus: Bulk modulus there, eV/Å³.
        derivative: Derivative of the bulk modulus by the pressure.
        residual: Root mean square of the energies that it misses, eV.
        curve: Volumes and energies of the equation [2, C], Å³ and eV.
    """

    equation: str
    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    residual: float
    curve: Float[np.ndarray, "2 C"]

    def row(self) -> dict[str, Any]:
        """Return its numbers, fit for JSON; the bulk modulus in GPa."""
        names = ("equation", "volume", "energy", "derivative", "residual")
        return {name: getattr(self, name) for name in names} | {
            "bulk_modulus": self.bulk_modulus / GPA
        }


def fitted(
    volumes: Float[np.ndarray, " P"], energies: Float[np.ndarray, " P"], equation: str
) -> EquationFit:
    """Return the equation of state that fits best.

    Args:
        volumes: Å³, from the smallest on.
        energies: eV.
        equation: Name, see `EOSOptions`.

    Raises:
        SimulationError: the minimum is not between the volumes, or the fit fails.
    """
    lowest = int(np.argmin(energies))
    if lowest in (0, len(energies) - 1):
        raise _outside(volumes, float(volumes[lowest]))
    floor = float(energies.min())  # fits of small numbers are more precise
    model: Any = EquationOfState(volumes, energies - floor, equation.replace("-", ""))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)
            model.fit(warn=False)
    except (RuntimeError, ValueError) as error:
        raise SimulationError(
            f"The equation of state {equation!r} cannot be fitted to these energies ({error}). "
            "Look at the curve, and take a smaller range of volumes or another equation."
        ) from error
    energy, modulus, derivative, volume = map(float, model.eos_parameters)
    if not volumes[0] < volume < volumes[-1] or not modulus > 0:
        raise _outside(volumes, volume)
    missed = model.func(volumes, *model.eos_parameters) - (energies - floor)
    grid = np.linspace(volumes[0], volumes[-1], 101)
    return EquationFit(
        equation=equation,
        volume=volume,
        energy=energy + floor,
        bulk_modulus=modulus,
        derivative=derivative,
        residual=float(np.sqrt((missed**2).mean())),
        curve=np.stack([grid, model.func(grid, *model.eos_parameters) + floor]),
    )


def _outside(volumes: np.ndarray, volume: float) -> SimulationError:
    end = "compress" if volume <= volumes.mean() else "expand"
    return SimulationError(
        "Expected a minimum of the energy between the volumes of "
        f"{volumes[0]:.2f} and {volumes[-1]:.2f} Å³, but it is lowest at {volume:.2f} Å³. Raise "
        f"{end}, or relax the crystal first."
    )
