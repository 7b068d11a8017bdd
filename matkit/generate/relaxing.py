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
from matkit.label.engines import EngineSpec, load_engine
from matkit.label.labels import Engine
from matkit.label.options import XTB
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
        steps: Most steps.
        fmax: Largest force at the end, eV/Å.
        domain: What is relaxed; crystals with their cell.
        asked: What they were to be, to keep to it.
    """

    potential: RelaxingPotential
    steps: int
    fmax: float
    domain: Domain = "crystal"
    asked: GenerateOptions | None = None

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return what became of some structures, which are relaxed in batches.

        A structure has failed if its relaxation does not converge.
        """
        room = room_of(self.domain)
        rejected = {item.index: _rejected(item, room) for item in items}
        rest = [item for item in items if rejected[item.index] is None]
        ended: dict[int, ItemResult] = {}
        for keeps_symmetry in (True, False):
            part = [item for item in rest if self._keeps_symmetry(item, room) == keeps_symmetry]
            ended |= self._relaxed(part, room, keeps_symmetry) if part else {}
        return [rejected[item.index] or ended[item.index] for item in items]

    def _keeps_symmetry(self, item: Item, room: DomainRoom) -> bool:
        """Return whether a symmetry was asked for, or the structure was made with one."""
        asked = self.asked is not None and self.asked.keeps_symmetry
        return asked or room.is_symmetric(item.content)

    def _relaxed(
        self, items: Sequence[Item], room: DomainRoom, keeps_symmetry: bool
    ) -> dict[int, ItemResult]:
        """Return what became of structures that are worth relaxing, by number."""
        options = RelaxOptions(
            optimizer=OPTIMIZER,
            relax_cell=room.RELAX_CELL,
            fmax=self.fmax,
            steps=self.steps,
            fix_symmetry=keeps_symmetry,
        )
        results = _results([charged(item.content) for item in items], self.potential, options)
        if any(isinstance(r, RelaxResult) and r.reason == "interrupted" for r in results):
            raise KeyboardInterrupt
        pairs = zip(items, results, strict=True)
        return {item.index: self._outcome(item, result, room) for item, result in pairs}

    def _outcome(self, item: Item, result: RelaxResult | Exception, room: DomainRoom) -> ItemResult:
        """Return what is written of a relaxation."""
        if isinstance(result, Exception):
            return failed(item, result)
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
        asked = self.asked
        if asked and asked.strict and (reason := room.unlike(asked, result.atoms)):
            return ItemResult(item, "failed", reason=reason, facts=facts)
        return ItemResult(item, "done", (_with_results(item.content, result),), facts=facts)


def charged(atoms: Atoms) -> Atoms:
    """Return atoms whose info says the charge that their formal charges add up to."""
    charge = int(atoms.arrays["formal_charge"].sum()) if "formal_charge" in atoms.arrays else 0
    if not charge:
        return atoms
    told = atoms.copy()
    told.info["charge"] = charge
    return told


def _results(
    structures: Sequence[Atoms], potential: RelaxingPotential, options: RelaxOptions
) -> Sequence[RelaxResult | Exception]:
    """Return how each relaxation ended, or why it did not begin; xTB takes one after another."""
    from matkit.simulate import relax_many  # needs torch, which this module does not

    if potential.model not in XTB:
        return relax_many(structures, _calculator(potential), options)
    engine = _engine(potential)
    return [_alone(atoms, engine, options) for atoms in structures]


def _alone(atoms: Atoms, engine: Engine, options: RelaxOptions) -> RelaxResult | Exception:
    from matkit.simulate import relax

    try:
        return relax(atoms, engine.calculator(atoms), options)
    except Exception as error:  # calculators raise anything
        return error


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
    if potential.model in XTB:
        info = _engine(potential).info
        return f"Relaxing with {info['level']}, tblite {info['tblite']}"
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


def _engine(potential: RelaxingPotential) -> Engine:
    """Return xTB."""
    return load_engine(
        EngineSpec(potential.model, "{}", "cpu", PRECISION, 1, dispersion=potential.dispersion)
    )


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
