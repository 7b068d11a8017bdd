"""From reactant and product, or a guess, to a transition state and the minima it connects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision, ignored_conditions
from matkit.data.pymatgen import as_atoms
from matkit.hessians.calculators import FINITE_DIFFERENCE, check_method, hessian
from matkit.hessians.free_atoms import free_atoms
from matkit.hessians.modes import NormalModes, normal_modes
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.plausibility import implausible, lone_atoms
from matkit.simulate.results import OnStep
from matkit.transition.band import Band
from matkit.transition.checks import check_structures, open_shell
from matkit.transition.likeness import connects, likeness
from matkit.transition.options import TSOptions
from matkit.transition.record import SearchRecord
from matkit.transition.results import Foot, TSResult
from matkit.transition.search import Search, Work
from matkit.vibrations.results import wavenumber

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def transition_state(
    structures: AnyStructure | Sequence[AnyStructure],
    calc: BaseCalculator | None = None,
    options: TSOptions | None = None,
    *,
    record: SearchRecord | None = None,
    on_step: OnStep | None = None,
    **changes: Any,
) -> TSResult:
    """Find a transition state, e.g. ``transition_state([reactant, product], calc)``.

    Reactant and product are relaxed, a nudged elastic band between them gives a guess, and
    `PRFO` takes it to a saddle point. Modes from central differences of forces confirm it, and
    the intrinsic reaction coordinate says which minima it connects.

    Args:
        structures: Reactant and product with the same atoms in the same order, or one guess; of
            ASE or pymatgen.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `TSOptions`.
        record: Where to keep what is done, and what was done before; None for nowhere.
        on_step: Called after every step of everything.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator lacks the method.
        StructureError: see `check_structures`; or both ends relax to the same molecule.
        SimulationError: a relaxation or the search failed.
    """
    options = resolve(TSOptions, options, changes)
    given = list(structures) if isinstance(structures, list | tuple) else [structures]
    several = [as_atoms(structure) for structure in given]
    check_structures(several)
    _, calc = prepare(several[0], calc)
    calc = at_precision(calc, PRECISION)
    check_method(calc, options.hessian)
    work = Work(calc, options, record or SearchRecord(None), on_step)
    warnings = list(dict.fromkeys(text for atoms in several if (text := open_shell(atoms))))
    if ignored := ignored_conditions(calc, several[0]):
        warnings.append(f"{ignored} ignored")
    ends: list[Atoms] = []
    band = None
    if len(several) == 1:
        search = work.search(several[0], None)
    else:
        ends = work.minima(several, warnings)
        band = work.band(ends, warnings)
        search = work.search(band.frames[band.peak], band.tangent)
    result = _judged(work, search, ends, band, warnings)
    return replace(result, given=type(given[0]))


def _judged(
    work: Work, search: Search, ends: list[Atoms], band: Band | None, warnings: list[str]
) -> TSResult:
    """Return the result: modes, the path if there is a saddle point, and what is wrong."""
    modes = _independent_modes(search.atoms, work.calc)
    limit = work.options.imaginary_above
    imaginary = [float(value) for value in modes.frequencies if value < 0 and value <= -limit]
    problems = _not_a_saddle(search, imaginary, work.options)
    problems += implausible(search.atoms, work.calc, modes.frequencies)
    feet: list[Foot] = []
    if work.options.irc and not problems:
        mode = modes.vectors[0]
        backwards = band is not None and np.vdot(mode, band.tangent) < 0
        feet = work.feet(search.atoms, -mode if backwards else mode, ends)
    joined = connects((feet[0].atoms, feet[1].atoms), ends[0], ends[1]) if feet and ends else None
    problems += _wrong_feet(feet, joined)
    minima = {"reactant and product": ends, "the feet of the path": [foot.atoms for foot in feet]}
    for name, structures in minima.items():
        texts = [text for atoms in structures for text in implausible(atoms, work.calc)]
        problems += [f"of {name}: {text}" for text in dict.fromkeys(texts)]
    return TSResult(
        atoms=search.atoms,
        reason=search.reason,
        steps=search.steps,
        energy=float(search.atoms.get_potential_energy()),
        max_force=max_force(search.atoms),
        hessians=search.hessians,
        modes=modes,
        imaginary=imaginary,
        ends=ends,
        band=band,
        feet=feet,
        connects=joined,
        problems=problems,
        warnings=[*warnings, *_remarks(feet, ends), *_shallow(search, feet, imaginary)],
    )


def _independent_modes(atoms: Atoms, calc: BaseCalculator) -> NormalModes:
    """Return the modes by central differences of forces, whatever the search has used."""
    free = free_atoms(atoms)
    return normal_modes(atoms, hessian(atoms, calc, FINITE_DIFFERENCE, free), free)


def _not_a_saddle(search: Search, imaginary: list[float], options: TSOptions) -> list[str]:
    problems = []
    if search.reason == "implausible":
        problems.append(f"the search was ended after {search.steps} steps, before nuclei fuse")
    elif search.reason != "converged":
        problems.append(
            f"the search is not converged: the largest force is {max_force(search.atoms):.3g} eV/Å "
            f"after {search.steps} steps"
        )
    if len(imaginary) != 1:
        found = ", ".join(map(wavenumber, imaginary)) or "none"
        problems.append(
            "expected exactly one imaginary mode beyond "
            f"{options.imaginary_above:g}i 1/cm, got {len(imaginary)}: {found}"
        )
    return problems


def _wrong_feet(feet: list[Foot], joined: bool | None) -> list[str]:
    problems = []
    if not all(foot.converged for foot in feet):
        problems.append("the path does not end in minima within irc_points and relax_steps")
    if joined is False:
        like = "; ".join(f"reactant {foot.reactant}, product {foot.product}" for foot in feet)
        problems.append(
            "the path does not lead from reactant to product; likeness of its feet: " + like
        )
    return problems


def _shallow(search: Search, feet: list[Foot], imaginary: list[float]) -> list[str]:
    """Return which feet are no minima for nuclei, which move even at rest."""
    energy = float(search.atoms.get_potential_energy())
    warnings = []
    for side, foot in enumerate(feet, start=1):
        barrier = energy - float(foot.atoms.get_potential_energy())
        if barrier < -min(imaginary) * float(units.invcm) / 2:
            warnings.append(
                f"side {side} of the path is hardly a minimum: {barrier:.4f} eV below the saddle "
                "point is less than half a quantum of the mode across it, and less than the errors "
                "of most models"
            )
    return warnings


def _remarks(feet: list[Foot], ends: list[Atoms]) -> list[str]:
    apart = (f"side {n} of the path: {lone_atoms(foot.atoms)}" for n, foot in enumerate(feet, 1))
    remarks = [text for text in apart if not text.endswith(": ")]
    if not feet or ends or likeness(feet[0].atoms, feet[1].atoms) == "other":
        return remarks
    same = "both sides of the path lead to the same bonds, a change of conformation at most"
    return [*remarks, same]
