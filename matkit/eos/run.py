"""The equation of state of one crystal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.eos.fit import EquationFit, fitted
from matkit.eos.options import EOSOptions
from matkit.eos.results import EOSResult
from matkit.eos.volumes import at_rest, at_volumes, check_crystal, energies
from matkit.options import PRECISION, resolve
from matkit.simulate.inputs import prepare
from matkit.simulate.results import OnStep, Reason

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

# An equation that misses the energies by more than this part of the curve's depth is told.
ROUGH = 0.02


def eos(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: EOSOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> EOSResult:
    """Fit an equation of state, e.g. ``eos(bulk("Cu"), calc, equation="vinet")``.

    Args:
        structure: Crystal of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `EOSOptions`.
        on_step: Called after every step of the relaxations.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator has no stress.
        StructureError: the structure is empty, not finite, not periodic in three directions, or
            constrained.
        SimulationError: a relaxation failed, an energy is not a number, or the minimum is not
            between the volumes.
    """
    options = resolve(EOSOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    calc = at_precision(calc, PRECISION)
    check_crystal(atoms, calc, options)
    frame, reason, steps = at_rest(atoms, calc, options, on_step)
    frames, reasons = at_volumes(frame, calc, options, on_step)
    values = energies(frames)
    fit = fitted(np.array([one.get_volume() for one in frames]), values, options.equation)
    return EOSResult(
        atoms=frame,
        given=type(structure),
        reason=worst([reason, *reasons]),
        steps=steps,
        frames=frames,
        fit=fit,
        message="; ".join([*unrelaxed(reason, reasons), *_rough(fit, values)]),
    )


def worst(reasons: list[Reason]) -> Reason:
    """Return how several relaxations ended together."""
    return next((one for one in ("max_steps", "converged") if one in reasons), "done")


def unrelaxed(reason: Reason, reasons: list[Reason]) -> list[str]:
    """Return which relaxations did not end, if any."""
    remarks = ["the crystal is not relaxed within the number of steps"]
    bad = sum(one == "max_steps" for one in reasons)
    texts = remarks if reason == "max_steps" else []
    return [*texts, *([f"{bad} volumes are not relaxed within the number of steps"] if bad else [])]


def _rough(fit: EquationFit, values: np.ndarray) -> list[str]:
    part = fit.residual / max(float(np.ptp(values)), 1e-12)
    if part < ROUGH:
        return []
    return [
        f"the equation misses the energies by {part:.0%} of the curve's depth: look at the curve, "
        "perhaps the crystal changes its phase"
    ]
