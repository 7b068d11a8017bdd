"""Elastic constants and moduli of polycrystals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.elastic import elastic
from matkit.elastic.strains import point_group, symmetric
from matkit.errors import SimulationError
from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.units import GPA

NUMBERS = {
    "bulk modulus": NumberKind("GPa"),
    "shear modulus": NumberKind("GPa"),
    "elastic constants": NumberKind("GPa"),
}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
SYMPREC = 1e-3


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return all crystals."""
    return dict(crystals)


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return the moduli of Hill and the constants that no symmetry ties to others.

    Raises:
        SimulationError: a small strain lowers the energy, so that there are no moduli.
    """
    result = elastic(sample.atoms, calc, relax=False)
    if result.moduli is None:
        raise SimulationError(
            f"Expected {sample.name} to be stable, but a small strain lowers its energy (Born's "
            "criterion), so that it has no moduli. Look at its phonons."
        )
    names = independent(np.asarray(point_group(sample.start, SYMPREC)))
    constants = {f"C{i + 1}{j + 1}": float(result.stiffness[i, j] / GPA) for i, j in names}
    return {
        "bulk modulus": {"": result.moduli.bulk / GPA},
        "shear modulus": {"": result.moduli.shear / GPA},
        "elastic constants": constants,
    }


def independent(rotations: np.ndarray) -> list[tuple[int, int]]:
    """Return places in the upper triangle that tell all elastic constants of a symmetry.

    Args:
        rotations: Point group [G, 3, 3].
    """
    places = list(combinations_with_replacement(range(6), 2))
    rows, columns = np.triu_indices(6)
    allowed = np.array([symmetric(_unit(*p), rotations)[rows, columns] for p in places])
    chosen: list[int] = []
    for place in range(len(places)):
        # A new one is no combination of those before it, in whatever crystal of this symmetry.
        more = allowed[:, [*chosen, place]]
        if np.linalg.matrix_rank(more, tol=1e-6) > len(chosen):
            chosen.append(place)
    return [places[place] for place in chosen]


def _unit(i: int, j: int) -> np.ndarray:
    matrix = np.zeros((6, 6))
    matrix[i, j] = matrix[j, i] = 1.0
    return matrix
