"""Energy, forces and stress of a structure as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import RESIDUAL, check_input, freeze, has_stress, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import SinglepointOptions
from matkit.simulate.plausibility import too_close, unknown_contacts
from matkit.simulate.results import SinglepointResult
from matkit.symmetrize.residual import residual_by

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def singlepoint(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: SinglepointOptions | None = None,
    **changes: Any,
) -> SinglepointResult:
    """Compute energy, forces and stress.

    Args:
        structure: Structure of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `SinglepointOptions`.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator does not tell how much
            the energy depends on how the structure lies.
        StructureError: the structure is empty, not finite or has a flat cell.
    """
    options = resolve(SinglepointOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    work = atoms.copy()
    work.calc = at_precision(calc, PRECISION)
    frame = freeze(work, stress=options.stress and has_stress(work))
    if options.residual:
        frame.info[RESIDUAL] = residual_by(work.calc, work)
    return replace(result_of(frame, calc), given=type(structure))


def result_of(frame: Atoms, calc: BaseCalculator) -> SinglepointResult:
    """Return the result of a frame that holds its energy, forces and perhaps stress.

    Args:
        frame: Structure with results.
        calc: What computed them.
    """
    energy, forces = frame.get_potential_energy(), frame.get_forces(apply_constraint=False)
    finite = bool(np.isfinite(energy) and np.isfinite(forces).all())
    remarks = [too_close(frame), unknown_contacts(frame, calc)]
    if not finite:
        remarks = ["energy or forces are not a number"]
    return SinglepointResult(
        atoms=frame,
        reason="done" if finite else "nan",
        energy=float(energy),
        forces=forces,
        stress=frame.calc.results.get("stress"),
        max_force=max_force(frame),
        rotational_residual=frame.info.get(RESIDUAL),
        message="; ".join(text for text in remarks if text),
    )
