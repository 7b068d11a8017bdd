"""Bond lengths and vibrations of molecules of two atoms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator

from matkit.errors import SimulationError
from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.evaluate.physics.relaxation import POSITIONS, at_rest
from matkit.simulate.several import evaluated

NUMBERS = {"bond length": NumberKind("Å"), "vibration": NumberKind("cm⁻¹")}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
MOLECULES = ("H2", "N2", "O2", "CO")
# By which the bond is stretched and pressed, Å.
STEP = 0.01
# Of the square root of eV/Å² over atomic mass units.
INVERSE_CM = 1e10 * units._hbar / np.sqrt(units._e * units._amu) / units.invcm


def subjects(_crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return the molecules."""
    return {name: molecule(name) for name in MOLECULES}


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return the length of the bond and the harmonic frequency ``(k / m)^(1/2)``, m reduced.

    Raises:
        SimulationError: the bond has no minimum.
    """
    frame = at_rest(sample.atoms, calc, POSITIONS)
    stiffness = _stiffness(frame, calc)
    if not stiffness > 0:
        raise SimulationError(
            f"Expected a stable bond of {sample.name}, but its force constant is {stiffness:.3g} "
            "eV/Å². The model does not know this molecule."
        )
    a, b = frame.get_masses()
    frequency = INVERSE_CM * float(np.sqrt(stiffness * (a + b) / (a * b)))
    return {"bond length": {"": frame.get_distance(0, 1)}, "vibration": {"": frequency}}


def _stiffness(frame: Atoms, calc: BaseCalculator) -> float:
    """Return the second derivative of the energy by the length of the bond, eV/Å²."""
    axis = frame.get_distance(0, 1, vector=True) / frame.get_distance(0, 1)
    cells = []
    for step in (-STEP, STEP):
        moved = Atoms(frame.numbers, frame.positions)
        moved.positions[1] += step * axis
        cells.append(moved)
    pressed, stretched = (float(one.get_forces()[1] @ axis) for one in evaluated(cells, calc))
    return (pressed - stretched) / (2 * STEP)
