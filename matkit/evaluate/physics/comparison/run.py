"""All numbers of all models, each computed once and kept as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.io import read

from matkit.calculator_info import at_precision
from matkit.evaluate.physics.comparison.items import Place, item_of, outcome, places, sample_of
from matkit.evaluate.physics.crystals import crystal_names, refuse_non_crystals
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.evaluate.physics.quantity import FIRST, Numbers, Quantity, quantities
from matkit.options import PRECISION
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows, read_rows

STEM = "numbers"
# What all numbers depend on. What else a number is of is in its item, so that models, crystals and
# quantities can be added later.
SETTINGS = ("min_length", "dtype", "dispersion", "dispersion_functional", "symmetrize")

Note = Callable[[str], None]


@dataclass(frozen=True)
class PhysicsEntry:
    """What became of one number of one model.

    Attributes:
        model: Name of the model.
        place: What was computed.
        status: `done`, `rejected` if the model does not know an element, or `failed`.
        numbers: By name of the number and of the component; empty if it is not done.
        reason: Why it is not done.
        seconds: What it took.
    """

    model: str
    place: Place
    status: str
    numbers: Numbers
    reason: str = ""
    seconds: float = 0.0


def compare_physics(
    calcs: Mapping[str, BaseCalculator],
    crystals: Sequence[Atoms],
    options: PhysicsOptions,
    note: Note = lambda text: None,
) -> list[PhysicsEntry]:
    """Compute the quantities of all models, or go on with it.

    Args:
        calcs: Calculators by name of the model.
        crystals: Crystals to look at; every model relaxes them first.
        options: What to compute, and the folder where it is kept.
        note: Told what is being done.

    Returns:
        What was found, also before: for every model the same numbers in the same order.

    Raises:
        StructureError: a structure is no crystal.
        MissingExtraError: a quantity needs a package that is not installed.
        ConfigError: the folder holds numbers that were computed with other settings.
    """
    options = options.sized()
    refuse_non_crystals(crystals)
    chosen = quantities(options.quantities)
    names = crystal_names(crystals)
    wanted = places(chosen, dict(zip(names, crystals, strict=True)), bool(options.struct))
    files = Files(Path(options.out), STEM)
    settings = {name: getattr(options, name) for name in SETTINGS}
    how = options.overwrite, options.retry_failed, options.defaults()
    with Ledger(files, settings, *how) as ledger:
        for model, calc in calcs.items():
            _compute((model, calc), wanted, chosen, (ledger, options.min_length), note)
    return list(_entries(files, calcs, wanted))


def _compute(
    named: tuple[str, BaseCalculator],
    wanted: Sequence[Place],
    chosen: Mapping[str, Quantity],
    where: tuple[Ledger, float],
    note: Note,
) -> None:
    """Compute what is left of one model and keep it, one item after another."""
    (model, calc), (ledger, min_length) = named, where
    precise, relaxed = at_precision(calc, PRECISION), _relaxed(ledger.files)
    items = [(place, item_of(model, calc, place)) for place in wanted]
    first = {place.subject: item.index for place, item in items if place.quantity == FIRST}
    left = [(place, item) for place, item in items if not ledger.is_known(item)]
    counts = Counter(place.quantity for place, _ in left)
    for place, item in left:
        if count := counts.pop(place.quantity, 0):  # the first of them
            note(f"{model}: {place.quantity}, {count} to compute")
        sample = sample_of(place, relaxed.get(first.get(place.subject, -1)), min_length)
        result = outcome(item, place, precise, chosen[place.quantity], sample)
        ledger.commit([result])
        if result.frames:
            relaxed[item.index] = result.frames[0]


def _relaxed(files: Files) -> dict[int, Atoms]:
    """Return the relaxed crystals that are on the disk, by the index of their items."""
    rows = [row for row in read_rows(files) if row["frames"]]
    frames = read(files.frames, slice(0, len(rows)), format="extxyz") if rows else []
    return {row["index"]: atoms for row, atoms in zip(rows, frames, strict=True)}


def _entries(
    files: Files, calcs: Mapping[str, BaseCalculator], wanted: Sequence[Place]
) -> Iterator[PhysicsEntry]:
    rows = last_rows(files)
    for model, calc in calcs.items():
        for place in wanted:
            row = rows[item_of(model, calc, place).index]
            rest = row.get("numbers", {}), row["reason"], row.get("seconds", 0.0)
            yield PhysicsEntry(model, place, row["status"], *rest)
