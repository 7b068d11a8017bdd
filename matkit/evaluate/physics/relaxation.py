"""Relaxations that quantities begin with."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import SimulationError
from matkit.simulate.options import RelaxOptions
from matkit.simulate.stationary import stationary_point

# Of crystals, whose second derivatives are taken, and of slabs, vacancies and molecules.
CRYSTAL = RelaxOptions(
    optimizer="BFGS", fmax=1e-4, smax=1e-5, steps=300, relax_cell=True, fix_symmetry=True
)
POSITIONS = RelaxOptions(optimizer="BFGS", fmax=1e-3, steps=300)


def at_rest(atoms: Atoms, calc: BaseCalculator, options: RelaxOptions) -> Atoms:
    """Return a relaxed copy with its results.

    Raises:
        SimulationError: it does not come to rest.
    """
    frame, reason, steps = stationary_point(atoms, calc, options, None)
    if reason != "converged":
        raise SimulationError(
            f"Expected {atoms.symbols} to come to rest, but forces or stresses are too large after "
            f"{steps} steps. Start from a better structure."
        )
    return frame


def energy_at_rest(atoms: Atoms, calc: BaseCalculator) -> float:
    """Return the energy in eV after a relaxation of the positions.

    Raises:
        SimulationError: it does not come to rest.
    """
    return float(at_rest(atoms, calc, POSITIONS).get_potential_energy())


def energy_of(atoms: Atoms, calc: BaseCalculator) -> float:
    """Return the energy in eV of a structure as it is."""
    work = atoms.copy()
    work.calc = calc
    return float(work.get_potential_energy())
