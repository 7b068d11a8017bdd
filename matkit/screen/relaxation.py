"""Step ``relax``: positions and cell, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ase import Atoms

from matkit.crystals.generation.room import damage, fault
from matkit.options import MD_PRECISION, PRECISION
from matkit.runs.items import Item, ItemResult, failed
from matkit.screen.chain import Step
from matkit.screen.model import calculator
from matkit.screen.options import ScreenOptions
from matkit.simulate import relax_many
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import RelaxResult

# Of 40 free crystals by the shipped generator, with SevenNet-0: BFGS relaxes all within 500 steps
# (median 114), L-BFGS leaves 2 and FIRE 5 unfinished (medians 127 and 146).
OPTIMIZER: Final = "BFGS"


def relaxed(options: ScreenOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Relax candidates, first at half the precision and then the little that is left at the full.

    Those that are no crystals, or do not converge, have failed.
    """
    outcomes = {item.index: failed(item, why) for item in items if (why := fault(item.content))}
    sound = [item for item in items if item.index not in outcomes]
    rough = _ends(options, [_free(item.content) for item in sound], MD_PRECISION)
    fine = _ends(options, [end.atoms for end in rough], PRECISION)
    for item, first, last in zip(sound, rough, fine, strict=True):
        outcomes[item.index] = _outcome(item, first, last)
    return [outcomes[item.index] for item in items]


def _free(atoms: Atoms) -> Atoms:
    """Return a crystal that relaxes as a whole, whatever its file holds fixed."""
    free = atoms.copy()
    free.set_constraint()
    return free


def _ends(options: ScreenOptions, frames: Sequence[Atoms], dtype: str) -> list[RelaxResult]:
    wanted = RelaxOptions(
        optimizer=OPTIMIZER, relax_cell=True, fmax=options.fmax, steps=options.relax_steps
    )
    ends = relax_many(frames, calculator(options, dtype), wanted)
    if any(end.reason == "interrupted" for end in ends):
        raise KeyboardInterrupt
    return ends


def _outcome(item: Item, first: RelaxResult, last: RelaxResult) -> ItemResult:
    for end in (first, last):
        if end.reason == "error":
            return failed(item, end.message)
    steps = first.steps + last.steps
    if not last.converged:
        return failed(item, f"not relaxed after {steps} steps: {last.message or last.reason}")
    atoms = last.atoms.copy()
    if harm := damage(item.content, atoms):
        return failed(item, harm)
    atoms.info = {"energy_per_atom": last.energy / len(atoms)}
    facts = {"energy_per_atom": last.energy / len(atoms), "relaxation_steps": steps}
    return ItemResult(item, "done", (atoms,), facts=facts)


def check(options: ScreenOptions, _items: Sequence[Item]) -> None:
    """Raise if the potential cannot be had."""
    calculator(options)


STEP = Step(
    name="relax",
    work=relaxed,
    columns=("energy_per_atom", "relaxation_steps"),
    options=frozenset({"fmax", "relax_steps"}),
    check=check,
    batched=True,
)
