"""Relaxation, force constants and all that follows from them, for one crystal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.errors import StructureError
from matkit.hessians.calculators import check_method
from matkit.options import PRECISION, resolve
from matkit.phonons.analysis import (
    band_structure,
    density_of_states,
    imaginary_modes,
    thermal_properties,
)
from matkit.phonons.force_constants import add_force_constants
from matkit.phonons.options import PhononsOptions
from matkit.phonons.predicted import with_reach
from matkit.phonons.results import ImaginaryMode, PhononsResult
from matkit.phonons.supercell import make_phonopy, multiples
from matkit.simulate.frames import check_input, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep
from matkit.simulate.stationary import stationary_point

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def phonons(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: PhononsOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> PhononsResult:
    """Compute phonons, e.g. ``phonons(bulk("Si"), calc, min_length=15.0)``.

    Args:
        structure: Crystal of ASE or pymatgen; it is not changed. Isotopes are set by its masses.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `PhononsOptions`.
        on_step: Called after every step of the relaxation.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator lacks the method.
        StructureError: the structure is empty, not finite, not periodic in three directions, or
            constrained.
        SimulationError: the relaxation failed, or forces are not numbers.
        MissingExtraError: phonopy or seekpath is not installed.
    """
    options = resolve(PhononsOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    _refuse(atoms)
    check_method(calc, options.method)
    make_phonopy(atoms, options)  # a missing package is said before the work
    options = with_reach(options, calc)
    calc = at_precision(calc, PRECISION)
    frame, reason, steps = stationary_point(atoms, calc, _relaxation(options), on_step)
    phonopy = make_phonopy(frame, options)
    drift = add_force_constants(phonopy, calc, options)
    bands = band_structure(phonopy, options.band_points)
    imaginary = imaginary_modes(phonopy.run_mesh(options.mesh), bands, options.imaginary)
    a, b, c = multiples(frame, options.min_length)
    return PhononsResult(
        atoms=frame,
        given=type(structure),
        reason=reason,
        steps=steps,
        energy=float(frame.get_potential_energy()),
        max_force=max_force(frame),
        max_stress=_max_stress(frame),
        method=options.method,
        supercell=(a, b, c),
        displacements=len(phonopy.supercells_with_displacements or []),
        drift=drift,
        bands=bands,
        dos=density_of_states(phonopy),
        thermal=thermal_properties(phonopy, options),
        imaginary=imaginary,
        phonopy=phonopy,
        message="; ".join(text for text in (_unrelaxed(frame, options), _named(imaginary)) if text),
    )


def _refuse(atoms: Atoms) -> None:
    if not atoms.pbc.all():
        raise StructureError(
            f"Phonons need a crystal with pbc = True in three directions, got {atoms.pbc.tolist()}."
            " Use `matkit vibrations` for a molecule; give a slab a cell with vacuum and pbc."
        )
    if atoms.constraints:
        kinds = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise StructureError(f"Expected no constraints for phonons, got {kinds}. Remove them.")


def _relaxation(options: PhononsOptions) -> RelaxOptions | None:
    if not options.relax:
        return None
    return RelaxOptions(
        optimizer=options.optimizer,
        fmax=options.fmax,
        smax=options.smax,
        steps=options.steps,
        relax_cell=True,
        fix_symmetry=True,
    )


def _max_stress(frame: Atoms) -> float | None:
    stress = frame.calc.results.get("stress")
    return None if stress is None else float(np.abs(stress).max())


def _unrelaxed(frame: Atoms, options: PhononsOptions) -> str:
    """Return what is not relaxed; the stress of a crystal that was not to be relaxed may stay."""
    force, stress = max_force(frame), _max_stress(frame) or 0.0
    if force < options.fmax and (stress < options.smax or not options.relax):
        return ""
    return (
        f"not relaxed: the largest force is {force:.2g} eV/Å (fmax {options.fmax:g}) and the "
        f"largest stress {stress:.2g} eV/Å³ (smax {options.smax:g}); imaginary modes may come "
        "from that"
    )


def _named(imaginary: list[ImaginaryMode]) -> str:
    if not imaginary:
        return ""
    return (
        f"imaginary modes at {len(imaginary)} q-points, the lowest {imaginary[0]}; the thermal "
        "properties leave them out"
    )
