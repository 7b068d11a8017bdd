"""A crystal at several volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from matkit.eos.options import VolumeOptions
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.simulate.frames import check_input, has_stress
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep, Reason
from matkit.simulate.several import evaluated, relaxed
from matkit.simulate.stationary import stationary_point


def check_crystal(atoms: Atoms, calc: BaseCalculator, options: VolumeOptions) -> None:
    """Check that a structure has a volume that can be changed.

    Raises:
        ConfigError: the cell is to be relaxed, and the calculator has no stress.
        StructureError: the structure is empty, not finite, not periodic in three directions, or
            constrained.
    """
    check_input(atoms)
    if not atoms.pbc.all():
        raise StructureError(
            "The volume of a crystal needs pbc = True in three directions, got "
            f"{atoms.pbc.tolist()}."
        )
    if atoms.constraints:
        kinds = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise StructureError(
            f"Expected no constraints for a change of volume, got {kinds}. Remove them."
        )
    work = atoms.copy()
    work.calc = calc
    if (options.relax or options.relax_shape) and not has_stress(work):
        raise ConfigError(
            f"Relaxing a cell needs a calculator with stresses; {type(calc).__name__} has none. "
            "Set relax and relax_shape to false."
        )


def at_rest(
    atoms: Atoms, calc: BaseCalculator, options: VolumeOptions, on_step: OnStep | None
) -> tuple[Atoms, Reason, int]:
    """Return the crystal that the volumes are taken from, how its relaxation ended, and its steps.

    Raises:
        SimulationError: the relaxation broke off.
    """
    settings = _relaxation(options, relax_cell=True) if options.relax else None
    return stationary_point(atoms, calc, settings, on_step)


def at_volumes(
    frame: Atoms, calc: BaseCalculator, options: VolumeOptions, on_step: OnStep | None
) -> tuple[list[Atoms], list[Reason]]:
    """Return the crystal at every volume, from the smallest on, and how relaxations ended.

    Raises:
        SimulationError: a relaxation broke off, or an energy is not a number.
    """
    parts = np.linspace(1 - options.compress, 1 + options.expand, options.points)
    cells: Sequence[Atoms] = [_scaled(frame, float(part)) for part in parts]
    reasons: list[Reason] = []
    if options.relax_ions:
        modes = {"relax_cell": True, "cell_mode": "constant-volume"} if options.relax_shape else {}
        cells, reasons = relaxed(cells, calc, _relaxation(options, **modes), on_step)
    frames = evaluated(cells, calc)
    if not np.isfinite(energies(frames)).all():
        raise SimulationError(
            "Expected finite energies, got NaN or infinity at a volume. Check the structure and "
            "the model, or take a smaller range of volumes."
        )
    return frames, reasons


def energies(frames: Sequence[Atoms]) -> Float[np.ndarray, " P"]:
    """Return the energies of structures [P], eV."""
    return np.array([float(frame.get_potential_energy()) for frame in frames])


def _scaled(frame: Atoms, part: float) -> Atoms:
    copy = frame.copy()
    copy.set_cell(frame.cell.array * np.cbrt(part), scale_atoms=True)
    return copy


def _relaxation(options: VolumeOptions, **cell: object) -> RelaxOptions:
    given = {"optimizer": "BFGS", "fmax": options.fmax, "smax": options.smax}
    return RelaxOptions.model_validate(
        {**given, "steps": options.steps, "fix_symmetry": True, **cell}
    )
