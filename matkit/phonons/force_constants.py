"""Force constants of a supercell: from displaced ones, its Hessian, or the primitive cell's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import SimulationError
from matkit.hessians.calculators import FINITE_DIFFERENCE, hessian
from matkit.phonons.options import PhononsOptions
from matkit.phonons.predicted import PREDICT, impose_sum_rule, predicted_force_constants
from matkit.phonons.supercell import to_ase
from matkit.simulate.several import evaluated

if TYPE_CHECKING:
    from phonopy import Phonopy


def add_force_constants(phonopy: Phonopy, calc: BaseCalculator, options: PhononsOptions) -> float:
    """Compute force constants of the supercell in eV/Å² and store them in `phonopy`.

    They are those of all its atoms [A, A, 3, 3]; by prediction, of the primitive cell's atoms with
    all of the supercell's [P, A, 3, 3], which says the same. They are made to fulfil the acoustic
    sum rule (no force under a translation) and to be symmetric.

    Args:
        phonopy: Crystal and supercell.
        calc: Any ASE calculator.
        options: Method and displacement.

    Returns:
        Largest violation of the sum rule before it was imposed, eV/Å².

    Raises:
        SimulationError: a force or a force constant is not a number.
    """
    if options.method == PREDICT:
        return _add_predicted(phonopy, calc)
    if options.method == FINITE_DIFFERENCE:
        phonopy.generate_displacements(distance=options.displacement)
        cells = [to_ase(cell) for cell in phonopy.supercells_with_displacements or []]
        phonopy.forces = _finite(many_forces(cells, calc))
        phonopy.produce_force_constants(show_drift=False)
    else:
        matrix = hessian(to_ase(phonopy.supercell), calc, options.method)
        size = len(phonopy.supercell)
        phonopy.force_constants = _finite(matrix.reshape(size, 3, size, 3).transpose(0, 2, 1, 3))
    drift = sum_rule_violation(phonopy)
    phonopy.symmetrize_force_constants(show_drift=False)
    return drift


def _add_predicted(phonopy: Phonopy, calc: BaseCalculator) -> float:
    """Store predicted force constants and return how much they violated the sum rule, eV/Å²."""
    constants = _finite(predicted_force_constants(phonopy, calc))
    phonopy.force_constants = impose_sum_rule(constants, phonopy)
    return float(np.abs(constants.sum(axis=1)).max())  # columns add up to the same, transposed


def sum_rule_violation(phonopy: Phonopy) -> float:
    """Return the largest force constant against a translation of the whole crystal, eV/Å²."""
    constants = phonopy.force_constants
    assert constants is not None
    return float(max(np.abs(constants.sum(axis=axis)).max() for axis in (0, 1)))


def many_forces(cells: list[Atoms], calc: BaseCalculator) -> np.ndarray:
    """Return the forces [C, A, 3] in eV/Å of several structures with A atoms each."""
    return np.array([frame.get_forces() for frame in evaluated(cells, calc)])


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise SimulationError(
            "Expected finite forces and force constants, got NaN or infinity. Check the structure "
            "and the model."
        )
    return values
