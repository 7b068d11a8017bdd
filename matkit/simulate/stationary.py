"""The stationary point that second derivatives are taken at."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import SimulationError
from matkit.simulate.frames import freeze, has_stress
from matkit.simulate.options import RelaxOptions
from matkit.simulate.relaxation import relax
from matkit.simulate.results import OnStep, Reason, RelaxResult


def stationary_point(
    atoms: Atoms, calc: BaseCalculator, options: RelaxOptions | None, on_step: OnStep | None
) -> tuple[Atoms, Reason, int]:
    """Return the structure to analyse with its results, how its relaxation ended, and the steps.

    Args:
        atoms: Structure; it is not changed.
        calc: Any ASE calculator.
        options: How to relax it; None leaves it as it is.
        on_step: Called after every step.

    Raises:
        SimulationError: the relaxation broke off.
    """
    if options is None:
        work = atoms.copy()
        work.calc = calc
        return freeze(work, stress=has_stress(work)), "done", 0
    return settled(relax(atoms, calc, options, on_step=on_step))


def settled(result: RelaxResult) -> tuple[Atoms, Reason, int]:
    """Return what a relaxation led to, how it ended, and its steps.

    Raises:
        SimulationError: it broke off.
    """
    if result.reason == "interrupted":
        raise KeyboardInterrupt
    if result.reason not in ("converged", "max_steps"):
        raise SimulationError(
            f"Expected a relaxed structure, but the relaxation ended with {result.reason!r} after "
            f"{result.steps} steps: {result.message}. Start from a better structure."
        )
    return result.atoms, result.reason, result.steps
