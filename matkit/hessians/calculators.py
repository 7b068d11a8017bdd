"""Where a Hessian comes from: the calculator itself, or differences of its forces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import ConfigError, did_you_mean
from matkit.hessians.differences import STEP, central_differences, completed

FINITE_DIFFERENCE = "finite-difference"


def check_method(calc: BaseCalculator, method: str) -> None:
    """Check that a calculator can give a Hessian by `method`.

    Raises:
        ConfigError: it cannot.
    """
    if (check := getattr(calc, "check_hessian", None)) is not None:
        check(method)
    elif method != FINITE_DIFFERENCE:
        raise ConfigError(
            f"{type(calc).__name__} has no Hessian by method {method!r}."
            f"{did_you_mean(method, [FINITE_DIFFERENCE])}"
        )


def hessian(
    atoms: Atoms, calc: BaseCalculator, method: str, free: list[int] | None = None
) -> np.ndarray:
    """Return second derivatives [3N, 3N] in eV/Å².

    Args:
        atoms: Structure.
        calc: Any ASE calculator; those of other packages give forces.
        method: One of those that `check_method` accepts.
        free: Atoms whose rows are wanted; None for all.
    """
    if hasattr(calc, "check_hessian"):
        found: np.ndarray = calc.get_hessian(atoms, method=method, free=free)  # type: ignore[attr-defined]
        return found
    return difference_hessian(atoms, calc, range(len(atoms)) if free is None else free)


def difference_hessian(
    atoms: Atoms, calc: BaseCalculator, free: Sequence[int], step: float = STEP
) -> np.ndarray:
    """Return the Hessian [3N, 3N] in eV/Å² by central differences of a calculator's forces.

    Args:
        atoms: Structure.
        calc: Any ASE calculator.
        free: Atoms that are displaced; what two others do to each other stays zero.
        step: Displacement, Å.
    """
    work = atoms.copy()
    work.set_constraint()
    work.calc = calc

    def forces_at(places: np.ndarray) -> np.ndarray:
        return np.array([_forces(work, positions) for positions in places])

    rows = central_differences(forces_at, atoms.positions, step, sorted(free))
    return completed(rows, len(atoms), free)


def _forces(work: Atoms, positions: np.ndarray) -> np.ndarray:
    work.positions = positions
    forces: np.ndarray = work.get_forces()
    return forces
