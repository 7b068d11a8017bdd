"""Elastic constants of one crystal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.elastic.options import ElasticOptions
from matkit.elastic.results import ElasticResult
from matkit.elastic.strains import strained
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import check_input, has_stress, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep
from matkit.simulate.stationary import stationary_point

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def elastic(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: ElasticOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> ElasticResult:
    """Compute elastic constants, e.g. ``elastic(bulk("Cu"), calc, strain=0.002)``.

    ``C_ij = (σ_i(+ε_j) - σ_i(-ε_j)) / 2ε`` for each of the six strains.

    Args:
        structure: Crystal of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator with stresses; the potential that comes with matkit if not given.
        options: See `ElasticOptions`.
        on_step: Called after every step of the relaxation.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator has no stress.
        StructureError: the structure is empty, not finite, not periodic in three directions, or
            constrained.
        SimulationError: a relaxation failed, or stresses are not numbers.
    """
    options = resolve(ElasticOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    calc = at_precision(calc, PRECISION)
    _refuse(atoms, calc)
    frame, reason, steps = stationary_point(atoms, calc, _relaxation(options), on_step)
    rows = [_slope(frame, calc, component, options) for component in range(6)]
    raw = np.array(rows).T
    if not np.isfinite(raw).all():
        raise SimulationError(
            "Expected finite stresses, got NaN or infinity. Check the structure and the model."
        )
    return ElasticResult(
        atoms=frame,
        given=type(structure),
        reason=reason,
        steps=steps,
        stiffness=(raw + raw.T) / 2,
        asymmetry=float(np.abs(raw - raw.T).max() / np.abs(raw).max()),
        message=_stressed(frame, options),
    )


def _slope(
    frame: Atoms, calc: BaseCalculator, component: int, options: ElasticOptions
) -> np.ndarray:
    """Return the change of the stress [6] with one component of the strain, eV/Å³."""
    sizes = (options.strain, -options.strain)
    up, down = (_stress(strained(frame, component, size), calc, options) for size in sizes)
    return (up - down) / (2 * options.strain)


def _stress(atoms: Atoms, calc: BaseCalculator, options: ElasticOptions) -> np.ndarray:
    if options.relax_ions:
        settings = RelaxOptions(optimizer="BFGS", fmax=options.fmax, steps=options.steps)
        atoms = stationary_point(atoms, calc, settings, None)[0]
    atoms.calc = calc
    stress: np.ndarray = atoms.get_stress()
    return stress


def _refuse(atoms: Atoms, calc: BaseCalculator) -> None:
    if not atoms.pbc.all():
        raise StructureError(
            "Elastic constants need a crystal with pbc = True in three directions, got "
            f"{atoms.pbc.tolist()}."
        )
    if atoms.constraints:
        kinds = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise StructureError(
            f"Expected no constraints for elastic constants, got {kinds}. Remove them."
        )
    work = atoms.copy()
    work.calc = calc
    if not has_stress(work):
        raise ConfigError(
            f"Elastic constants need a calculator with stresses; {type(calc).__name__} has none."
        )


def _relaxation(options: ElasticOptions) -> RelaxOptions | None:
    if not options.relax:
        return None
    return RelaxOptions(
        optimizer="BFGS",
        fmax=options.fmax,
        smax=options.smax,
        steps=options.steps,
        relax_cell=True,
        fix_symmetry=True,
    )


def _stressed(frame: Atoms, options: ElasticOptions) -> str:
    """Return what is not relaxed, or nothing."""
    force, stress = max_force(frame), float(np.abs(frame.get_stress()).max())
    if force < options.fmax and stress < options.smax:
        return ""
    return (
        f"not relaxed: the largest force is {force:.2g} eV/Å (fmax {options.fmax:g}) and the "
        f"largest stress {stress:.2g} eV/Å³ (smax {options.smax:g}); the constants are those under "
        "this stress"
    )
