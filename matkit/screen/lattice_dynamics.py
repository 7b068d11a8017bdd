"""Step ``phonons``: dynamical stability, at the Γ point first and then everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.phonons.force_constants import add_force_constants
from matkit.phonons.options import PhononsOptions
from matkit.phonons.run import phonons
from matkit.phonons.supercell import make_phonopy
from matkit.runs.items import Item, ItemResult
from matkit.screen.chain import Step
from matkit.screen.options import ScreenOptions
from matkit.screen.singles import at_rest, singly


def vibrating(options: ScreenOptions, item: Item, calc: BaseCalculator) -> ItemResult:
    """Reject a crystal with an imaginary mode; the Γ point costs its own cell only."""
    atoms = at_rest(item.content, calc, options)
    wanted = PhononsOptions(
        relax=False,
        fmax=options.tight,
        min_length=options.min_length,
        imaginary=options.imaginary,
    )
    lowest = lowest_at_gamma(atoms, calc, wanted)
    if lowest < -options.imaginary:
        return _rejected(item, lowest, "Γ")
    found = phonons(atoms, calc, wanted)
    if found.imaginary:
        worst = found.imaginary[0]
        place = worst.name or "q = ({:.3f}, {:.3f}, {:.3f})".format(*worst.q)
        return _rejected(item, worst.frequency, place)
    atoms = found.atoms.copy()
    atoms.info = dict(item.content.info)
    lowest = min(float(line.min()) for line in found.bands.frequencies)
    facts = {"lowest_frequency": lowest, "highest_frequency": found.max_frequency}
    return ItemResult(item, "done", (atoms,), facts=facts)


def lowest_at_gamma(atoms: Atoms, calc: BaseCalculator, options: PhononsOptions) -> float:
    """Return the lowest frequency at the Γ point, THz, negative if imaginary."""
    phonopy = make_phonopy(atoms, options, repeats=(1, 1, 1))
    add_force_constants(phonopy, calc, options)
    return float(phonopy.run_mesh([1, 1, 1]).frequencies.min())


def _rejected(item: Item, frequency: float, place: str) -> ItemResult:
    reason = f"imaginary mode of {-frequency:.2f}i THz at {place}"
    return ItemResult(item, "rejected", reason=reason, facts={"lowest_frequency": frequency})


def check(_options: ScreenOptions, _items: Sequence[Item]) -> None:
    """Raise MissingExtraError if phonopy or seekpath is not installed."""
    make_phonopy(Atoms("H", cell=[1, 1, 1], pbc=True), PhononsOptions(), repeats=(1, 1, 1))


STEP = Step(
    name="phonons",
    work=singly(vibrating),
    columns=("lowest_frequency", "highest_frequency"),
    verdict="dynamically unstable",
    after=("relax",),
    options=frozenset({"tight", "relax_steps", "min_length", "imaginary"}),
    check=check,
)
