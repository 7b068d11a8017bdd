"""Relax generated crystals with a potential."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ase import Atoms

from matkit.crystals.reading import crystal_of
from matkit.crystals.validity import CLOSEST, smallest_distance, smallest_self_distance
from matkit.elements import format_species
from matkit.errors import UnknownElementError
from matkit.runs.items import Item, ItemResult, failed
from matkit.simulate.options import RelaxOptions
from matkit.simulate.relaxation import relax

if TYPE_CHECKING:
    from matkit.calculator import MatkitCalculator

# A crystal that has grown to this many times its volume has come apart.
BURST = 3.0
# Of 40 free crystals by the shipped generator, with SevenNet-0: BFGS relaxes all within 500 steps
# (median 114), L-BFGS leaves 2 and FIRE 5 unfinished (medians 127 and 146).
OPTIMIZER: Final = "BFGS"
# Enough for crystals that are drawn and judged by the hundred, and twice as fast as float64.
PRECISION: Final = "float32"


@dataclass(frozen=True)
class Relaxer:
    """How to relax; may be sent to other processes.

    Attributes:
        model: Potential.
        device: Where it runs.
        steps: Most steps.
        fmax: Largest force at the end, eV/Å.
    """

    model: str
    device: str
    steps: int
    fmax: float

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return what became of some crystals."""
        return [self.one(item) for item in items]

    def one(self, item: Item) -> ItemResult:
        """Relax positions and cell of one crystal; it has failed if that does not converge."""
        if item.content is None:
            return ItemResult(item, "rejected", reason=item.reason)
        if objection := fault(item.content):
            return ItemResult(item, "rejected", reason=objection)
        calc = _calculator(self.model, self.device)
        options = RelaxOptions(
            optimizer=OPTIMIZER, relax_cell=True, fmax=self.fmax, steps=self.steps
        )
        try:
            result = relax(item.content, calc, options)
        except Exception as error:  # e.g. an element that the potential does not know
            return failed(item, error)
        n_atoms, volume = len(item.content), result.atoms.get_volume()
        facts = {
            "energy_before": result.initial_energy / n_atoms,
            "energy_after": result.energy / n_atoms,
            "relaxation_steps": result.steps,
            "relaxation": result.reason,
        }
        if result.reason != "converged":
            return ItemResult(item, "failed", reason=result.message or result.reason, facts=facts)
        if volume > BURST * item.content.get_volume():
            return ItemResult(item, "failed", reason="it came apart", facts=facts)
        atoms = result.atoms.copy()
        atoms.info = dict(item.content.info)
        return ItemResult(item, "done", (atoms,), facts=facts)


def check_potential(
    model: str, device: str, wanted: Collection[int], possible: Collection[int]
) -> str:
    """Raise what is wrong with a potential before hours are spent on crystals for it.

    Args:
        model: Name or file.
        device: Where it is to run.
        wanted: Atomic numbers that crystals are sure to have.
        possible: Those that they may have.

    Returns:
        What is to be said of it.

    Raises:
        UnknownElementError: it does not know an element that is wanted.
        UnknownNameError: no model has that name.
        MissingExtraError: the package that carries its weights is not installed.
        CheckpointError: the file cannot be read.
    """
    calc = _calculator(model, device)
    known = set.intersection(*(set(member.species) for member in calc.potentials))
    if lacking := set(wanted) - known:
        raise UnknownElementError(
            f"Cannot relax with {model}: it does not know {format_species(lacking)}, which is "
            f"asked for. It knows {format_species(known)}. Choose another, or do not relax."
        )
    text = f"Relaxing with {calc.info['model']}; {PRECISION} on {calc.device}"
    if lacking := set(possible) - known:
        text += (
            f". Crystals with {format_species(lacking)} cannot be relaxed: it does not know them"
        )
    return text


def fault(atoms: Atoms) -> str:
    """Return why a crystal is not worth relaxing, or nothing."""
    crystal = crystal_of(atoms, "")
    if crystal.structure is None:
        return crystal.reason
    closest = min(smallest_distance(crystal.structure), smallest_self_distance(crystal.structure))
    return f"atoms {closest:.2f} Å apart" if closest < CLOSEST else ""


@lru_cache(maxsize=1)
def _calculator(model: str, device: str) -> MatkitCalculator:
    from matkit.models.zoo import load_calculator

    return load_calculator(model, device=device, dtype=PRECISION)
