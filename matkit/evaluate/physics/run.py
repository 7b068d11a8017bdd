"""All checks of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.errors import MatkitError
from matkit.evaluate.physics.crystal_checks import (
    CONSERVATION,
    ELASTIC,
    EQUATION,
    PHONONS,
    elastic_constants,
    energy_conservation,
    equation_of_state,
    lattice_vibrations,
)
from matkit.evaluate.physics.crystals import crystal_names, refuse_non_crystals
from matkit.evaluate.physics.diatomics import DIATOMIC, diatomic, pair_name, pairs_of
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.evaluate.physics.verdicts import PhysicsCheck
from matkit.options import MD_PRECISION, PRECISION
from matkit.simulate.options import RelaxOptions
from matkit.simulate.stationary import stationary_point

Note = Callable[[str], None]
RELAXATION = RelaxOptions(
    optimizer="BFGS", fmax=1e-3, smax=1e-4, steps=300, relax_cell=True, fix_symmetry=True
)


@dataclass
class PhysicsResult:
    """What was found.

    Attributes:
        checks: In the order in which they were made.
        crystals: Crystals that were looked at, by name, relaxed where that succeeded.
    """

    checks: list[PhysicsCheck] = field(default_factory=list)
    crystals: dict[str, Atoms] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether no check fails."""
        return all(check.verdict != "fail" for check in self.checks)


def evaluate_physics(
    calc: BaseCalculator,
    crystals: Sequence[Atoms],
    options: PhysicsOptions,
    species: Sequence[int] = (),
    note: Note = lambda text: None,
) -> PhysicsResult:
    """Check what a potential does on crystals and pairs of atoms.

    Args:
        calc: Calculator of the model.
        crystals: Crystals to look at; they are relaxed first.
        options: What to check.
        species: Elements of the pairs, if there are no crystals.
        note: Told what is being done.

    Raises:
        StructureError: a structure is no crystal.
    """
    options = options.sized()
    refuse_non_crystals(crystals)
    precise = at_precision(calc, PRECISION)
    result = PhysicsResult()
    if "diatomics" in options.checks:
        groups = [atoms.numbers.tolist() for atoms in crystals] or [list(species)]
        for pair in pairs_of(groups, options.pairs):
            result.checks.append(_guarded(DIATOMIC, pair_name(pair), diatomic, pair, precise))
    names = crystal_names(crystals)[: None if options.struct else options.crystals]
    for name, atoms in zip(names, crystals, strict=False):
        note(f"Checking {name}")
        result.checks += _of_crystal(name, atoms, calc, options, result)
    return result


def _of_crystal(
    name: str, atoms: Atoms, calc: BaseCalculator, options: PhysicsOptions, result: PhysicsResult
) -> Iterator[PhysicsCheck]:
    """Relax a crystal, add it to the result, and give the checks of it."""
    precise = at_precision(calc, PRECISION)
    try:
        atoms, reason, _ = stationary_point(atoms, precise, RELAXATION, None)
    except MatkitError as error:
        yield PhysicsCheck("relaxation", name, failure=str(error))
        return
    result.crystals[name] = atoms
    if reason != "converged":
        yield PhysicsCheck(
            "relaxation", name, failure=f"not at rest after {RELAXATION.steps} steps"
        )
        return
    curve = _guarded(EQUATION, name, equation_of_state, atoms, precise)
    if "eos" in options.checks:
        yield curve
    if "nve" in options.checks:
        fast = at_precision(calc, MD_PRECISION)
        yield _guarded(CONSERVATION, name, energy_conservation, atoms, fast, options.md_steps)
    if "phonons" in options.checks:
        length = options.min_length
        yield _guarded(PHONONS, name, lattice_vibrations, atoms, precise, length)
    if "elastic" in options.checks:
        modulus = curve.facts.get("bulk_modulus")
        yield _guarded(ELASTIC, name, elastic_constants, atoms, precise, modulus)


def _guarded(kind: str, name: str, check: Callable[..., PhysicsCheck], *given: Any) -> PhysicsCheck:
    """Return the check under a name, or that it failed with an error."""
    try:
        return replace(check(*given), subject=name)
    except MatkitError as error:
        return PhysicsCheck(kind, name, failure=str(error))
