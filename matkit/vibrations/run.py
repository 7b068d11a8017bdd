"""Relaxation, Hessian, normal modes and thermochemistry of one molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.data.ase import SPIN_KEYS
from matkit.errors import StructureError
from matkit.hessians.calculators import FINITE_DIFFERENCE, check_method, hessian
from matkit.hessians.free_atoms import free_atoms
from matkit.hessians.modes import NormalModes, normal_modes
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import check_input, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.plausibility import disagreement, implausible, lone_atoms, unknown_contacts
from matkit.simulate.results import OnStep
from matkit.simulate.stationary import stationary_point
from matkit.vibrations.infrared import gives_dipoles, infrared_intensities
from matkit.vibrations.options import VibrationsOptions
from matkit.vibrations.results import VibrationsResult
from matkit.vibrations.symmetry import infrared_active
from matkit.vibrations.thermochemistry import (
    Thermochemistry,
    ideal_gas,
    multiplicity,
    unexpected_modes,
)

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def vibrations(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: VibrationsOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> VibrationsResult:
    """Compute vibrations, e.g. ``vibrations(molecule, calc, temperature=500.0)``.

    Atoms held by ASE's `FixAtoms` stay where they are: the modes are those of the others, without
    thermochemistry. Such a structure may be periodic, e.g. a molecule on a slab.

    Args:
        structure: Structure of ASE or pymatgen; it is not changed. Isotopes are set by its masses.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `VibrationsOptions`.
        on_step: Called after every step of the relaxation.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator lacks the method.
        StructureError: the structure is empty, not finite, periodic without frozen atoms, has a
            constraint other than `FixAtoms`, or a multiplicity that its electrons cannot have.
        SimulationError: the relaxation failed.
    """
    options = resolve(VibrationsOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    atoms = _with_spin(atoms, options.spin)
    free = free_atoms(atoms)
    _refuse_periodic(atoms, free)
    calc = at_precision(calc, PRECISION)
    check_method(calc, options.method)
    # A wrong multiplicity is said before the work.
    spin = multiplicity(atoms, options.spin) if free is None else 1
    frame, reason, steps = stationary_point(atoms, calc, _relaxation(options), on_step)
    matrix = hessian(frame, calc, options.method, free)
    modes = normal_modes(frame, matrix, free)
    doubts = implausible(frame, calc, modes.frequencies)
    if options.relax and (text := unknown_contacts(atoms, calc)):
        doubts.append(f"before its relaxation {text}")
    if options.method != FINITE_DIFFERENCE and (text := disagreement(frame, calc, matrix, free)):
        doubts.append(text)
    thermo, problem = None, "no thermochemistry"
    if not doubts:
        thermo, problem = _thermochemistry(frame, modes, options, free)
    remarks = (
        *doubts,
        lone_atoms(frame),
        _not_relaxed(frame, options.fmax),
        _open_shell(spin),
        problem,
    )
    forces = frame.get_forces()
    absorbs = options.intensities and free is None and gives_dipoles(calc)
    return VibrationsResult(
        atoms=frame,
        given=type(structure),
        reason="implausible" if doubts else reason,
        steps=steps,
        energy=float(frame.get_potential_energy()),
        max_force=max_force(frame),
        gradient_norm=float(np.linalg.norm(forces)),
        method=options.method,
        modes=modes,
        infrared=None if free is not None else infrared_active(frame, modes),
        intensities=infrared_intensities(frame, modes, calc) if absorbs else None,
        thermochemistry=thermo,
        message="; ".join(text for text in remarks if text),
    )


def _with_spin(atoms: Atoms, spin: int | None) -> Atoms:
    """Return the structure with the multiplicity of the options: the model is to know it too."""
    if spin is None:
        return atoms
    copy = atoms.copy()
    copy.info = {key: value for key, value in atoms.info.items() if key not in SPIN_KEYS}
    copy.info["spin"] = spin
    return copy


def _refuse_periodic(atoms: Atoms, free: list[int] | None) -> None:
    if atoms.pbc.any() and free is None:
        raise StructureError(
            f"Vibrations are meant for molecules, got pbc = {atoms.pbc.tolist()}. Use `matkit "
            "phonons` for a crystal, pbc = False for a molecule in a box, or freeze a part of a "
            "slab with FixAtoms."
        )


def _relaxation(options: VibrationsOptions) -> RelaxOptions | None:
    if not options.relax:
        return None
    return RelaxOptions(optimizer=options.optimizer, fmax=options.fmax, steps=options.steps)


def _not_relaxed(frame: Atoms, fmax: float) -> str:
    force = max_force(frame)
    if force < fmax:
        return ""
    norm = np.linalg.norm(frame.get_forces())
    return (
        f"not a stationary point: the gradient norm is {norm:.4g} eV/Å and the largest force "
        f"{force:.4g} eV/Å, above fmax = {fmax:g}; frequencies are unreliable"
    )


def _open_shell(spin: int) -> str:
    if spin == 1:
        return ""
    return f"open shell (multiplicity {spin}): check that the calculator is made for it"


def _thermochemistry(
    frame: Atoms, modes: NormalModes, options: VibrationsOptions, free: list[int] | None
) -> tuple[Thermochemistry | None, str]:
    problem = unexpected_modes(modes, options.transition_state)
    if free is not None:
        frozen = "some atoms are frozen, so that there is no thermochemistry of a gas"
        return None, "; ".join(text for text in (problem, frozen) if text)
    if problem:
        return None, problem
    energy = float(frame.get_potential_energy())
    return ideal_gas(frame, modes, energy, options), ""
