"""What is checked of one crystal."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.elastic import elastic
from matkit.errors import MissingExtraError
from matkit.evaluate.physics.dynamics import constant_energy
from matkit.evaluate.physics.equation_of_state import energy_volume
from matkit.evaluate.physics.verdicts import Measure, PhysicsCheck
from matkit.options import build
from matkit.phonons.force_constants import add_force_constants
from matkit.phonons.options import PhononsOptions
from matkit.phonons.supercell import make_phonopy, multiples
from matkit.units import GPA

EQUATION, CONSERVATION = "equation of state", "energy conservation"
PHONONS, ELASTIC = "phonons", "elastic constants"
# Largest part of the depth of a curve that the fitted equation of state may miss.
ROUGH = 0.03
# Largest change of the energy in dynamics, meV/atom/ps.
DRIFT = 2.0
# Lowest frequency on the mesh, THz, and largest violation of the acoustic sum rule, eV/Å².
LOWEST, SUM_RULE = -0.1, 0.02
# Points along each axis of the mesh, which leaves out the centre of the zone.
MESH = 4
# Smallest distance between opposite faces of the supercell of the dynamics, Å.
MD_LENGTH = 5.0
# Largest difference of the two bulk moduli and across the diagonal of the elastic constants.
MODULI, ASYMMETRY = 0.1, 0.02
# How elastic constants are computed: by small strains, and of whatever crystal is given.
STRAINS: dict[str, Any] = {
    "relax": False,
    "fmax": 1e-3,
    "max_stress": 1.0,
    "norm_strains": [-0.005, 0.005],
    "shear_strains": [-0.0025, 0.0025],
    "symmetry": False,  # by symmetry no constants would differ across the diagonal
}


def equation_of_state(atoms: Atoms, calc: BaseCalculator) -> PhysicsCheck:
    """Check that the energy over the volume is smooth, with one minimum."""
    kind, name = EQUATION, str(atoms.symbols)
    curve = energy_volume(atoms, calc)
    if reason := curve.get("skipped"):
        failed = reason.endswith("not a number")
        return (
            PhysicsCheck(kind, name, failure=reason)
            if failed
            else PhysicsCheck(kind, name, skipped=reason)
        )
    volumes, energies = np.array(curve["volume"]), np.array(curve["energy"])
    measures = [
        Measure("minima", _minima(energies), low=1, high=1),
        Measure("roughness", 100 * _roughness(volumes, energies), "%", high=100 * ROUGH),
        Measure("bulk modulus", curve.get("bulk_modulus", np.nan), "GPa", low=0.0),
    ]
    lengths = [round(float(length), 5) for length in atoms.cell.lengths()]
    return PhysicsCheck(kind, name, measures, curve | {"cell_lengths": lengths})


def _minima(energies: np.ndarray) -> int:
    """Return the number of points below both neighbours."""
    inside = energies[1:-1]
    return int(((inside < energies[:-2]) & (inside < energies[2:])).sum())


def _roughness(volumes: np.ndarray, energies: np.ndarray) -> float:
    """Return what the equation of Birch and Murnaghan misses, as a part of the depth."""
    fit = np.polynomial.Polynomial.fit(volumes ** (-2 / 3), energies, 3)
    missed = np.abs(fit(volumes ** (-2 / 3)) - energies).max()
    return float(missed / max(np.ptp(energies), 1e-12))


def energy_conservation(atoms: Atoms, calc: BaseCalculator, steps: int) -> PhysicsCheck:
    """Check that dynamics at constant energy keep it."""
    kind, name = CONSERVATION, str(atoms.symbols)
    supercell = atoms.repeat(multiples(atoms, MD_LENGTH))
    run = constant_energy(supercell, calc, steps)
    if run.get("reason") == "interrupted":
        raise KeyboardInterrupt
    if "skipped" in run or run["reason"] != "done":
        return PhysicsCheck(kind, name, facts=run, failure=run.get("skipped") or run["message"])
    drift = Measure("drift", run["drift"], "meV/atom/ps", -DRIFT, DRIFT)
    return PhysicsCheck(kind, name, [drift], run | {"atoms": len(supercell)})


def lattice_vibrations(atoms: Atoms, calc: BaseCalculator, min_length: float) -> PhysicsCheck:
    """Check that a crystal at rest has no imaginary modes, and that translations cost nothing."""
    kind, name = PHONONS, str(atoms.symbols)
    options = build(PhononsOptions, {"min_length": min_length})
    try:
        phonopy = make_phonopy(atoms, options)
    except MissingExtraError as error:
        return PhysicsCheck(kind, name, skipped=str(error))
    drift = add_force_constants(phonopy, calc, options)
    places = (np.arange(MESH) + 0.5) / MESH
    frequencies = np.asarray(phonopy.run_qpoints(list(product(places, repeat=3))).frequencies)
    measures = [
        Measure("lowest frequency", float(frequencies.min()), "THz", low=LOWEST),
        Measure("violation of the sum rule", drift, "eV/Å²", high=SUM_RULE),
    ]
    facts = {"highest_frequency": float(frequencies.max()), "atoms": len(phonopy.supercell)}
    return PhysicsCheck(kind, name, measures, facts)


def elastic_constants(
    atoms: Atoms, calc: BaseCalculator, bulk_modulus: float | None
) -> PhysicsCheck:
    """Check that a crystal is stable under small strains, and that stresses fit the energy.

    Args:
        atoms: Crystal at rest.
        calc: Calculator of the model.
        bulk_modulus: That of the equation of state, in GPa; None if there is none.
    """
    found = elastic(atoms, calc, **STRAINS)
    measures = [
        Measure("softest strain", found.smallest_stiffness / GPA, "GPa", low=0.0),
        Measure("asymmetry", 100 * found.asymmetry, "%", high=100 * ASYMMETRY),
    ]
    if bulk_modulus is not None:
        apart = 100 * abs(found.bulk_modulus / GPA / bulk_modulus - 1)
        against = "bulk modulus against the equation of state"
        measures.append(Measure(against, apart, "% apart", high=100 * MODULI))
    return PhysicsCheck(ELASTIC, str(atoms.symbols), measures, found.row())
