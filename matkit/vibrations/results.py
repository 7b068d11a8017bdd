"""What `vibrations` returns, and how it is shown."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from matkit.hessians.modes import NormalModes
from matkit.simulate.results import Reason, Result
from matkit.vibrations.thermochemistry import Thermochemistry


@dataclass(frozen=True, kw_only=True)
class VibrationsResult(Result):
    """Result of `vibrations`.

    Attributes:
        atoms: Structure whose vibrations these are, with energy and forces.
        reason: `converged`, `max_steps` (of the relaxation), `done` if it was not relaxed, or
            `implausible`: no molecule is like that, or none that the model was made for.
        steps: Steps of the relaxation.
        energy: Potential energy, eV.
        max_force: Largest force on a free atom, eV/Å.
        gradient_norm: Norm of all forces on free atoms, eV/Å.
        method: Where the Hessian came from.
        modes: Normal modes.
        infrared: Which modes [M] symmetry allows to absorb infrared light; None with atoms held.
        thermochemistry: None if there is none, see `message`.
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    energy: float
    max_force: float
    gradient_norm: float
    method: str
    modes: NormalModes
    infrared: Bool[np.ndarray, " M"] | None
    thermochemistry: Thermochemistry | None
    message: str = ""

    def row(self) -> dict[str, Any]:
        """Return everything but the displacements, fit for JSON; frequencies in 1/cm."""
        thermo = self.thermochemistry
        return super().row() | {
            "frequencies": self.modes.frequencies.tolist(),
            "reduced_masses": self.modes.reduced_masses.tolist(),
            "infrared": None if self.infrared is None else self.infrared.tolist(),
            "imaginary": len(self.modes.imaginary),
            "zero_point_energy": self.modes.zero_point_energy,
            "thermochemistry": None if thermo is None else dataclasses.asdict(thermo),
        }


def wavenumber(value: float) -> str:
    """Return a wavenumber as chemists write it, with i for imaginary."""
    return f"{-value:.2f}i" if value < 0 else f"{value:.2f}"


def mode_table(modes: NormalModes, infrared: Bool[np.ndarray, " M"] | None = None) -> str:
    """Return one line for every mode.

    Args:
        modes: Normal modes.
        infrared: Which of them may absorb infrared light; None leaves that out.
    """
    known = infrared is not None
    head = "  mode  wavenumber (1/cm)  energy (meV)  reduced mass (amu)"
    lines = [head + ("  infrared" if known else "")]
    energies = 1000 * modes.energies
    allowed = infrared if infrared is not None else np.zeros(len(energies), dtype=bool)
    rows = zip(modes.frequencies, energies, modes.reduced_masses, allowed, strict=True)
    for number, (value, energy, mass, active) in enumerate(rows):
        imaginary = "i" if value < 0 else ""
        quantum = f"{abs(energy):.2f}{imaginary}"
        word = f"{'allowed' if active else 'inactive':>10}" if known else ""
        lines.append(f"{number:6d}{wavenumber(value):>19}{quantum:>14}{mass:20.3f}{word}")
    return "\n".join(lines)


def thermochemistry_table(thermo: Thermochemistry) -> str:
    """Return the conditions and what holds under them."""
    return (
        f"  ideal gas, {thermo.temperature:g} K, {thermo.pressure:g} bar; {thermo.geometry}, "
        f"symmetry number {thermo.symmetry_number}, multiplicity {thermo.spin}\n"
        f"  enthalpy {thermo.enthalpy:.6f} eV, entropy {1000 * thermo.entropy:.6f} meV/K, "
        f"Gibbs energy {thermo.gibbs_energy:.6f} eV"
    )
