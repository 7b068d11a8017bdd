"""Relax generated structures with a potential."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from matkit.elements import format_species
from matkit.errors import UnknownElementError
from matkit.generate.domains import DomainRoom, room_of
from matkit.generate.options import GenerateOptions
from matkit.interfaces.generator import Domain
from matkit.options import DISPERSION_FUNCTIONAL
from matkit.runs.items import Item, ItemResult, failed
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import RelaxResult

if TYPE_CHECKING:
    from matkit.calculator import MatkitCalculator

# Of 40 free crystals by the shipped generator, with SevenNet-0: BFGS relaxes all within 500 steps
# (median 114), L-BFGS leaves 2 and FIRE 5 unfinished (medians 127 and 146).
OPTIMIZER: Final = "BFGS"
# Enough for structures that are drawn and judged by the hundred, and twice as fast as float64.
PRECISION: Final = "float32"


@dataclass(frozen=True)
class RelaxingPotential:
    """What relaxes; may be sent to other processes.

    Attributes:
        model: Name or file.
        device: Where it runs.
        dispersion: Correction added to it, `d3` or `d3bj`.
        dispersion_functional: Of which functional.
    """

    model: str
    device: str
    dispersion: str | None = None
    dispersion_functional: str = DISPERSION_FUNCTIONAL


def potential_of(options: GenerateOptions) -> RelaxingPotential:
    """Return what relaxes; the options name a potential."""
    assert options.relax is not None
    return RelaxingPotential(
        options.relax, options.device, options.dispersion, options.dispersion_functional
    )


@dataclass(frozen=True)
class Relaxer:
    """How to relax; may be sent to other processes.

    Attributes:
        potential: What relaxes.
        options: What was asked for, and how far they are relaxed.
        domain: What is relaxed; crystals with their cell.
    """

    potential: RelaxingPotential
    options: GenerateOptions
    domain: Domain = "crystal"

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return what became of some structures, which are relaxed in batches.

        A structure has failed if its relaxation does not converge.
        """
        from matkit.simulate import relax_many  # needs torch, which this module does not

        room = room_of(self.domain)
        rejected = {item.index: _rejected(item, room) for item in items}
        rest = [item for item in items if rejected[item.index] is None]
        options = RelaxOptions(
            optimizer=OPTIMIZER,
            relax_cell=room.RELAX_CELL,
            fmax=self.options.fmax,
            steps=self.options.relax_steps,
            fix_symmetry=self.options.keeps_symmetry
            or any(room.is_symmetric(item.content) for item in rest),
        )
        calc = _calculator(self.potential)
        results = relax_many([item.content for item in rest], calc, options)
        if any(result.reason == "interrupted" for result in results):
            raise KeyboardInterrupt
        pairs = zip(rest, results, strict=True)
        ended = {item.index: self._outcome(item, result, room) for item, result in pairs}
        return [rejected[item.index] or ended[item.index] for item in items]

    def _outcome(self, item: Item, result: RelaxResult, room: DomainRoom) -> ItemResult:
        """Return what is written of a relaxation."""
        if result.reason == "error" and not result.steps:  # e.g. an element that nobody knows
            return failed(item, result.message)
        n_atoms = len(item.content)
        facts = {
            "energy_before": result.initial_energy / n_atoms,
            "energy_after": result.energy / n_atoms,
            "relaxation_steps": result.steps,
            "relaxation": result.reason,
        }
        if result.reason != "converged":
            return ItemResult(item, "failed", reason=result.message or result.reason, facts=facts)
        if damage := room.damage(item.content, result.atoms):
            return ItemResult(item, "failed", reason=damage, facts=facts)
        if self.options.strict and (reason := room.unlike(self.options, result.atoms)):
            return ItemResult(item, "failed", reason=reason, facts=facts)
        return ItemResult(item, "done", (_with_results(item.content, result),), facts=facts)


def _rejected(item: Item, room: DomainRoom) -> ItemResult | None:
    """Return why a structure is not to be relaxed, None if it is."""
    if item.content is None:
        return ItemResult(item, "rejected", reason=item.reason)
    if objection := room.fault(item.content):
        return ItemResult(item, "rejected", reason=objection)
    return None


def _with_results(drawn: Atoms, result: RelaxResult) -> Atoms:
    """Return a relaxed structure with energy, forces and stress, and what the drawn one says."""
    atoms = result.atoms.copy()
    atoms.info = dict(drawn.info)
    atoms.calc = SinglePointCalculator(atoms, **result.atoms.calc.results)
    return atoms


def check_potential(
    potential: RelaxingPotential, wanted: Collection[int], possible: Collection[int]
) -> str:
    """Raise what is wrong with a potential before hours are spent on structures for it.

    Args:
        potential: What is to relax.
        wanted: Atomic numbers that structures are sure to have.
        possible: Those that they may have.

    Returns:
        What is to be said of it.

    Raises:
        UnknownElementError: it does not know an element that is wanted.
        UnknownNameError: no model has that name.
        MissingExtraError: the package that carries its weights, or dftd3, is not installed.
        CheckpointError: the file cannot be read.
    """
    calc = _calculator(potential)
    known = set(calc.species)
    if lacking := set(wanted) - known:
        raise UnknownElementError(
            f"Cannot relax with {potential.model}: it does not know {format_species(lacking)}, "
            f"which is asked for. It knows {format_species(known)}. Choose another, or do not "
            "relax."
        )
    text = f"Relaxing with {calc.info['model']}; {PRECISION} on {calc.device}"
    if lacking := set(possible) - known:
        text += (
            f". Structures with {format_species(lacking)} cannot be relaxed: it does not know them"
        )
    return text


@lru_cache(maxsize=1)
def _calculator(potential: RelaxingPotential) -> MatkitCalculator:
    from matkit.models.zoo import load_calculator

    return load_calculator(
        potential.model,
        device=potential.device,
        dtype=PRECISION,
        dispersion=potential.dispersion,
        dispersion_functional=potential.dispersion_functional,
    )
