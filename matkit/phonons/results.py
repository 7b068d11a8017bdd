"""What `phonons` returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from matkit.phonons.path import Segment
from matkit.simulate.results import Reason, Result

if TYPE_CHECKING:
    from phonopy import Phonopy


@dataclass(frozen=True)
class Bands:
    """Frequencies along a path.

    Attributes:
        segments: The lines.
        distances: Position of every q-point along the path [P], 1/Å, one array for each line.
        frequencies: [P, M] in THz, imaginary ones negative, one array for each line.
    """

    segments: list[Segment]
    distances: list[np.ndarray]
    frequencies: list[np.ndarray]


@dataclass(frozen=True)
class DensityOfStates:
    """States over frequency, of one primitive cell.

    Attributes:
        frequencies: [F], THz.
        density: [F], 1/THz; its integral is the number of modes.
    """

    frequencies: np.ndarray
    density: np.ndarray


@dataclass(frozen=True)
class ThermalProperties:
    """Harmonic thermodynamics of one primitive cell at constant volume.

    Attributes:
        temperatures: [T], K.
        free_energy: Helmholtz energy of the vibrations, zero-point energy included [T], eV.
        entropy: [T], eV/K.
        heat_capacity: [T], eV/K.
    """

    temperatures: np.ndarray
    free_energy: np.ndarray
    entropy: np.ndarray
    heat_capacity: np.ndarray


@dataclass(frozen=True)
class ImaginaryMode:
    """A q-point with an imaginary mode.

    Attributes:
        q: In units of the primitive reciprocal lattice vectors.
        name: Name of a special point, or empty.
        frequency: The lowest one there, THz, negative.
    """

    q: tuple[float, float, float]
    name: str
    frequency: float

    def __str__(self) -> str:
        """Return e.g. ``1.204i THz at q = (0.500, 0.000, 0.500) X``."""
        place = ", ".join(f"{x:.3f}" for x in self.q)
        return f"{-self.frequency:.3f}i THz at q = ({place}) {self.name}".rstrip()


@dataclass(frozen=True, kw_only=True)
class PhononsResult(Result):
    """Result of `phonons`.

    Attributes:
        atoms: Unit cell whose phonons these are, with energy, forces and, if there is one, stress.
        reason: `converged`, `max_steps` (of the relaxation), or `done` if it was not relaxed.
        steps: Steps of the relaxation.
        energy: Potential energy of `atoms`, eV.
        max_force: Largest force on an atom, eV/Å.
        max_stress: Largest component of the stress, eV/Å³; None without stress.
        method: Where the force constants came from.
        supercell: How often `atoms` is repeated along each lattice vector; predicted force
            constants are put into it, without a prediction for it.
        displacements: Number of displaced supercells, 0 if none was needed.
        drift: Largest violation of the acoustic sum rule before it was imposed, eV/Å².
        bands: Band structure.
        dos: Density of states.
        thermal: Thermal properties.
        imaginary: All q-points of path and mesh with imaginary modes, the lowest first.
        phonopy: Phonopy's own object, with the force constants; predicted ones in its compact
            form, for the atoms of the primitive cell with all of the supercell.
        message: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    energy: float
    max_force: float
    max_stress: float | None
    method: str
    supercell: tuple[int, int, int]
    displacements: int
    drift: float
    bands: Bands
    dos: DensityOfStates
    thermal: ThermalProperties
    imaginary: list[ImaginaryMode]
    phonopy: Phonopy
    message: str = ""

    @property
    def max_frequency(self) -> float:
        """Highest frequency on the path, THz."""
        return max(float(part.max()) for part in self.bands.frequencies)

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; frequencies in THz."""
        return super().row() | {
            "supercell": list(self.supercell),
            "supercell_atoms": len(self.atoms) * int(np.prod(self.supercell)),
            "primitive_atoms": len(self.phonopy.primitive),
            "max_frequency": self.max_frequency,
            "imaginary": len(self.imaginary),
            "lowest_imaginary": asdict(self.imaginary[0]) if self.imaginary else None,
            "zero_point_energy": float(self.thermal.free_energy[0]),
        }
