"""Frequencies of phonons, and the heat capacity that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.options import build
from matkit.phonons.force_constants import add_force_constants
from matkit.phonons.options import PhononsOptions
from matkit.phonons.supercell import make_phonopy

if TYPE_CHECKING:
    from phonopy import Phonopy

NUMBERS = {
    "phonon frequencies": NumberKind("THz"),
    "heat capacity at 300 K": NumberKind("J/mol/K per atom"),
}
PACKAGES: tuple[str, ...] = ("phonopy", "seekpath")
EXTRA = "phonons"
TEMPERATURE = 300.0


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return all crystals."""
    return dict(crystals)


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return frequencies at the wave vectors that fit into the supercell, and the heat capacity.

    At these no interpolation comes between the forces and the frequencies. Imaginary frequencies
    are negative, and left out of the heat capacity; the three translations are left out.
    """
    options = build(PhononsOptions, {"min_length": sample.min_length})
    phonopy = make_phonopy(sample.atoms, options, sample.repeats)
    add_force_constants(phonopy, calc, options)
    phonopy.run_mesh(options.mesh)
    thermal = phonopy.run_thermal_properties(
        temperatures=[TEMPERATURE], exclude_gamma_acoustic=True
    )
    capacity = float(np.asarray(thermal.heat_capacity)[0]) / len(phonopy.primitive)
    return {
        "phonon frequencies": commensurate_frequencies(phonopy),
        "heat capacity at 300 K": {"": capacity},
    }


def commensurate_frequencies(phonopy: Phonopy) -> dict[str, float]:
    """Return frequencies in THz by ``q-point.mode``, in rising order at every q-point."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    matrix = np.linalg.inv(phonopy.primitive_matrix) @ phonopy.supercell_matrix
    points = np.asarray(get_commensurate_points(np.rint(matrix).astype(int)))
    found = np.asarray(phonopy.run_qpoints(points).frequencies)
    named: dict[str, float] = {}
    for i, (q, modes) in enumerate(zip(points, found, strict=True)):
        still = 3 if np.allclose(q, np.rint(q)) else 0
        moving = np.delete(modes, np.argsort(np.abs(modes))[:still])
        named |= {f"{i + 1}.{j + 1}": float(value) for j, value in enumerate(moving)}
    return named
