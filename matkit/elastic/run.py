"""Elastic constants of one crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float

from matkit.calculator_info import at_precision
from matkit.elastic.options import ElasticOptions
from matkit.elastic.results import ElasticResult
from matkit.elastic.strains import Strain, images, point_group, strain_set, strained, symmetric
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import check_input, has_stress, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep, Reason
from matkit.simulate.several import evaluated, relaxed
from matkit.simulate.stationary import stationary_point
from matkit.units import GPA

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

# From this nonlinearity and asymmetry on a result comes with a warning.
NONLINEAR, ASYMMETRIC = 0.05, 0.05


def elastic(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: ElasticOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> ElasticResult:
    """Compute elastic constants, e.g. ``elastic(bulk("Cu"), calc, relax_ions=False)``.

    Each of the six strains is applied in several sizes, and the slopes of the stress over the
    strain are the constants, as in ElasticityCalc of matcalc 0.7 (Cauchy stress over the strain of
    Green and Lagrange, linear fits).

    Args:
        structure: Crystal of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator with stresses; the potential that comes with matkit if not given.
        options: See `ElasticOptions`.
        on_step: Called after every step of the relaxations.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator has no stress.
        StructureError: the structure is empty, not finite, not periodic in three directions,
            constrained, or under stress.
        SimulationError: a relaxation failed, or stresses are not numbers.
    """
    options = resolve(ElasticOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    calc = at_precision(calc, PRECISION)
    _refuse(atoms, calc)
    frame, reason, steps = stationary_point(atoms, calc, _relaxation(options), on_step)
    _refuse_stressed(frame, options)
    rotations = point_group(frame, options.symprec) if options.symmetry else np.eye(3)[None]
    strains = strain_set(options.norm_strains, options.shear_strains)
    same = images(strains, rotations)
    firsts = sorted({source for source, _ in same})
    cells = [strained(frame, strains[source]) for source in firsts]
    computed, reasons = _stresses(cells, calc, options, on_step)
    by_source = dict(zip(firsts, computed, strict=True))
    stresses = [turn @ by_source[source] @ turn.T for source, turn in same]
    raw = _slopes(strains, stresses, frame, degree=1)
    limit = symmetric(_slopes(strains, stresses, frame, degree=3), rotations)
    bad = sum(one == "max_steps" for one in reasons)
    result = ElasticResult(
        atoms=frame,
        given=type(structure),
        reason="max_steps" if bad else reason,
        steps=steps,
        strains=len(cells),
        stiffness=symmetric(raw, rotations),
        asymmetry=float(np.abs(raw - raw.T).max() / np.abs(raw).max()),
        limit=limit,
    )
    return replace(result, message="; ".join(_remarks(result, options, bad)))


def _stresses(
    cells: Sequence[Atoms], calc: BaseCalculator, options: ElasticOptions, on_step: OnStep | None
) -> tuple[Float[np.ndarray, "K 3 3"], list[Reason]]:
    """Return the stress of each strained cell, eV/Å³, and how their relaxations ended."""
    reasons: list[Reason] = []
    if options.relax_ions:
        settings = RelaxOptions(optimizer="BFGS", fmax=options.fmax, steps=options.steps)
        cells, reasons = relaxed(cells, calc, settings, on_step)
    frames = evaluated(cells, calc, stress=True)
    stresses = [voigt_6_to_full_3x3_stress(frame.get_stress()) for frame in frames]
    return _finite(np.array(stresses)), reasons


def _finite(stresses: np.ndarray) -> np.ndarray:
    if not np.isfinite(stresses).all():
        raise SimulationError(
            "Expected finite stresses, got NaN or infinity. Check the structure and the model."
        )
    return stresses


def _slopes(
    strains: Sequence[Strain], stresses: Sequence[np.ndarray], frame: Atoms, degree: int
) -> Float[np.ndarray, "6 6"]:
    """Return slopes of the stress (rows) at no strain over each strain (columns), eV/Å³.

    They are those of polynomials, of lower degrees where there are too few strains.
    """
    columns = []
    for component in range(6):
        chosen = [i for i, strain in enumerate(strains) if strain.component == component]
        amounts = [0.0, *(strains[i].voigt for i in chosen)]
        answers = [full_3x3_to_voigt_6_stress(stresses[i]) for i in chosen]
        fit = np.polyfit(amounts, [frame.get_stress(), *answers], min(degree, len(chosen)))
        columns.append(fit[-2])
    return np.array(columns).T


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


def _refuse_stressed(frame: Atoms, options: ElasticOptions) -> None:
    largest = float(np.abs(_finite(frame.get_stress())).max())
    if largest > options.max_stress:
        todo = "Raise steps, or begin nearer to the minimum" if options.relax else "Let it relax"
        raise StructureError(
            "Elastic constants are those of a crystal at rest, but the largest stress is "
            f"{largest:.3g} eV/Å³ ({largest / GPA:.3g} GPa; max_stress is {options.max_stress:g} "
            f"eV/Å³). {todo}, or raise max_stress if the crystal is meant to be under this stress."
        )


def _remarks(result: ElasticResult, options: ElasticOptions, bad: int) -> list[str]:
    """Return what to beware of."""
    remarks, frame = [], result.atoms
    force, stress = max_force(frame), float(np.abs(frame.get_stress()).max())
    if not (force < options.fmax and stress < options.smax):
        remarks.append(
            f"not relaxed: the largest force is {force:.2g} eV/Å (fmax {options.fmax:g}) and the "
            f"largest stress {stress:.2g} eV/Å³ (smax {options.smax:g}); the constants are those "
            "under this stress"
        )
    if bad:
        remarks.append(f"{bad} strained cells are not relaxed within the number of steps")
    if result.asymmetry > ASYMMETRIC:
        remarks.append(
            f"the constants differ by {result.asymmetry:.0%} across the diagonal: these stresses "
            "are no derivatives of the energy"
        )
    i = int(np.argmax(result.nonlinearity.round(6)))  # the first of those equal by symmetry
    if result.nonlinearity[i] > NONLINEAR:
        name, values = f"C{i + 1}{i + 1}", (result.stiffness[i, i], result.limit[i, i])
        remarks.append(
            f"not linear in these strains: {name} is {values[0] / GPA:.4g} GPa by the linear fit "
            f"and {values[1] / GPA:.4g} GPa at vanishing strain (limit); use smaller norm_strains "
            "and shear_strains for that"
        )
    if not result.stable:
        remarks.append("not stable: a small strain lowers the energy, so there are no moduli")
    return remarks
