"""What `vibrations` returns, and how it is shown."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float

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
        intensities: Integrated absorption of each mode [M], km/mol; None without dipoles.
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
    intensities: Float[np.ndarray, " M"] | None
    thermochemistry: Thermochemistry | None
    message: str = ""

    def row(self) -> dict[str, Any]:
        """Return everything but the displacements, fit for JSON; frequencies in 1/cm."""
        thermo = self.thermochemistry
        return super().row() | {
            "frequencies": self.modes.frequencies.tolist(),
            "reduced_masses": self.modes.reduced_masses.tolist(),
            "infrared": None if self.infrared is None else self.infrared.tolist(),
            "intensities": None if self.intensities is None else self.intensities.tolist(),
            "imaginary": len(self.modes.imaginary),
            "zero_point_energy": self.modes.zero_point_energy,
            "thermochemistry": None if thermo is None else dataclasses.asdict(thermo),
        }


def wavenumber(value: float) -> str:
    """Return a wavenumber as chemists write it, with i for imaginary."""
    return f"{-value:.2f}i" if value < 0 else f"{value:.2f}"


def mode_table(
    modes: NormalModes,
    infrared: Bool[np.ndarray, " M"] | None = None,
    intensities: Float[np.ndarray, " M"] | None = None,
) -> str:
    """Return one line for every mode.

    Args:
        modes: Normal modes.
        infrared: Which of them may absorb infrared light; None leaves that out.
        intensities: How strongly they do, km/mol; None leaves that out.
    """
    head = "  mode  wavenumber (1/cm)  energy (meV)  reduced mass (amu)"
    head += "" if infrared is None else "  infrared"
    lines = [head + ("" if intensities is None else "  absorption (km/mol)")]
    energies = 1000 * modes.energies
    rows = zip(modes.frequencies, energies, modes.reduced_masses, strict=True)
    for number, (value, energy, mass) in enumerate(rows):
        quantum = f"{abs(energy):.2f}{'i' if value < 0 else ''}"
        line = f"{number:6d}{wavenumber(value):>19}{quantum:>14}{mass:20.3f}"
        if infrared is not None:
            line += f"{'allowed' if infrared[number] else 'inactive':>10}"
        lines.append(line if intensities is None else f"{line}{intensities[number]:21.2f}")
    return "\n".join(lines)


def thermochemistry_table(thermo: Thermochemistry) -> str:
    """Return the conditions and what holds under them."""
    return (
        f"  ideal gas, {thermo.temperature:g} K, {thermo.pressure:g} bar; {thermo.geometry}, "
        f"symmetry number {thermo.symmetry_number}, multiplicity {thermo.spin}\n"
        f"  enthalpy {thermo.enthalpy:.6f} eV, entropy {1000 * thermo.entropy:.6f} meV/K, "
        f"Gibbs energy {thermo.gibbs_energy:.6f} eV"
    )
