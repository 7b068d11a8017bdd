"""Thermal conductivity of crystals by three-phonon scattering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import SimulationError
from matkit.evaluate.physics.quantity import Components, NumberKind, Numbers, Sample
from matkit.phonons.force_constants import many_forces
from matkit.phonons.supercell import to_ase

if TYPE_CHECKING:
    from phono3py import Phono3py


def symmetric_relative_mean_error(values: Components, reference: Components) -> float:
    """Return kappa_SRME: 0 if all modes conduct alike, 2 if no mode does in both.

    ``2 sum_m |kappa_m - kappa_m'| / (kappa + kappa')`` over the modes m of all q-points, where
    kappa is their sum (Póta, Ahlawat, Csányi and Simoncelli 2024, arXiv:2408.00755).
    """
    apart = sum(abs(values[mode] - reference[mode]) for mode in reference)
    return float(2 * apart / (sum(values.values()) + sum(reference.values())))


NUMBERS = {
    "thermal conductivity": NumberKind("W/m/K"),
    "mode conductivities": NumberKind(
        "W/m/K", symmetric_relative_mean_error, label="kappa_SRME", failed=2.0
    ),
}
PACKAGES: tuple[str, ...] = ("phono3py",)
EXTRA = "conductivity"
# Crystals that it is computed of if none are named: it takes longer than the rest.
USUAL = ("Si2", "Ge2", "C2", "MgO", "NaCl", "LiF", "GaAs", "ZnS", "CSi", "CaF2")
TEMPERATURE = 300.0
# Supercell of the third derivatives, displacement in Å, and mesh of q-points.
REPEATS, DISPLACEMENT, MESH = (2, 2, 2), 0.03, (11, 11, 11)
# Frequencies below minus this are imaginary, THz.
IMAGINARY = 0.05


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return all crystals."""
    return dict(crystals)


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return the mean over directions at 300 K, and what each mode of each q-point conducts.

    In the approximation of relaxation times, with scattering by isotopes. Small supercell and
    mesh do for a comparison; the numbers are not converged.

    Raises:
        SimulationError: the crystal has imaginary modes.
    """
    phono3py = _with_forces(sample, calc)
    phono3py.mesh_numbers = MESH
    phono3py.init_phph_interaction()
    phono3py.run_thermal_conductivity(temperatures=[TEMPERATURE], is_isotope=True, log_level=0)
    found = phono3py.thermal_conductivity
    lowest = float(np.min(found.frequencies))
    if lowest < -IMAGINARY:
        raise SimulationError(
            f"Expected {sample.name} to be stable, but it has an imaginary frequency of "
            f"{-lowest:.3g}i THz, with which it has no thermal conductivity. Look at its phonons."
        )
    # Sums over equivalent q-points [Q, M]; xx, yy and zz come first.
    modes = np.asarray(found.mode_kappa)[0, 0][..., :3].mean(axis=-1) / np.prod(MESH)
    named = {f"{q + 1}.{m + 1}": float(modes[q, m]) for q, m in np.ndindex(modes.shape)}
    return {"thermal conductivity": {"": float(modes.sum())}, "mode conductivities": named}


def _with_forces(sample: Sample, calc: BaseCalculator) -> Phono3py:
    """Return phono3py's crystal with force constants of the second and third order."""
    from phono3py import Phono3py
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import guess_primitive_matrix

    cell, start = (
        PhonopyAtoms(
            numbers=atoms.numbers,
            scaled_positions=atoms.get_scaled_positions(),
            cell=atoms.cell.array,
        )
        for atoms in (sample.atoms, sample.start)
    )
    made = Phono3py(
        cell,
        np.diag(REPEATS),
        # One for all models, so that the same modes are compared.
        primitive_matrix=guess_primitive_matrix(start),
        phonon_supercell_matrix=np.diag(sample.repeats),
    )
    made.generate_displacements(distance=DISPLACEMENT)
    made.generate_fc2_displacements(distance=DISPLACEMENT)
    cells = [to_ase(one) for one in made.supercells_with_displacements]
    made.forces = many_forces(cells, calc)
    cells = [to_ase(one) for one in made.phonon_supercells_with_displacements]
    made.phonon_forces = many_forces(cells, calc)
    made.produce_fc3()
    made.symmetrize_fc3()
    made.produce_fc2()
    made.symmetrize_fc2()
    return made
