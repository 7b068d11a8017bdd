"""One number after another: what is computed of a model, and what a line of the ledger says."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import model_info
from matkit.elements import SYMBOLS
from matkit.errors import SimulationError
from matkit.evaluate.physics.quantity import FIRST, Numbers, Quantity, Sample
from matkit.evaluate.physics.relaxation import CRYSTAL, at_rest
from matkit.runs.items import Item, ItemResult, failed, fingerprint

# Decimals in files of structures: a run that goes on reads what this one computes with.
DECIMALS = 8
# Of the checksums that items are known by; JSON keeps whole numbers of this length everywhere.
BYTES = 6


@dataclass(frozen=True)
class Place:
    """Numbers to compute, of any model.

    Attributes:
        quantity: Name of the quantity.
        subject: Name of the crystal, molecule or reaction.
        start: Structure of it that all models are given.
    """

    quantity: str
    subject: str
    start: Atoms


def places(
    chosen: Mapping[str, Quantity], crystals: Mapping[str, Atoms], named: bool
) -> list[Place]:
    """Return everything that is computed of each model, in this order.

    Args:
        chosen: Quantities by name.
        crystals: Crystals by name.
        named: Whether somebody named them; else quantities take those that they usually take, if
            there are any.
    """
    found = []
    for name, one in chosen.items():
        usual = () if named else getattr(one, "USUAL", ())
        few = {key: crystals[key] for key in usual if key in crystals} or crystals
        found += [Place(name, subject, start) for subject, start in one.subjects(few).items()]
    return found


def item_of(model: str, calc: BaseCalculator, place: Place) -> Item:
    """Return the item of a model, with a number that is the same whatever else is computed.

    Another file under the name of a model is another item, and so is another crystal.
    """
    sha256 = str(model_info(calc).get("sha256", ""))
    start = fingerprint(Item(0, place.subject, place.start))
    content = (model, sha256, place.quantity, place.subject, start)
    digest = hashlib.sha256(repr(content).encode()).digest()
    source = f"{model}, {place.subject}, {place.quantity}"
    return Item(int.from_bytes(digest[:BYTES]), source, content)


def sample_of(place: Place, relaxed: Atoms | None, min_length: float) -> Sample | None:
    """Return what numbers are computed of; None if that is a crystal that is not relaxed."""
    atoms = relaxed if place.start.pbc.all() else place.start
    return None if atoms is None else Sample(place.subject, place.start, atoms, min_length)


def outcome(
    item: Item, place: Place, calc: BaseCalculator, one: Quantity, sample: Sample | None
) -> ItemResult:
    """Return what became of one item; what a model cannot do stops nothing.

    Args:
        item: The item.
        place: What it is.
        calc: Calculator of the model.
        one: Its quantity.
        sample: What it is computed of; the first quantity of a crystal relaxes it instead.
    """
    if lacking := _lacking(place.start, calc):
        return ItemResult(item, "rejected", reason=f"the model does not know {lacking}")
    begin = time.perf_counter()
    try:
        if place.quantity == FIRST:
            sample = Sample(place.subject, place.start, _relaxed(place.start, calc))
        if sample is None:
            return failed(item, "the crystal could not be relaxed")
        numbers = _finite(one.numbers(sample, calc))
    except Exception as error:  # libraries raise anything on absurd forces
        return failed(item, error)
    frames = (sample.atoms,) if place.quantity == FIRST else ()
    facts = {"numbers": numbers, "seconds": round(time.perf_counter() - begin, 3)}
    return ItemResult(item, "done", frames, facts=facts)


def _lacking(atoms: Atoms, calc: BaseCalculator) -> str:
    """Return the elements that a model does not know; calculators that do not say know all."""
    known = getattr(calc, "species", None)
    unknown = set(atoms.numbers.tolist()) - set(atoms.numbers if known is None else known)
    return ", ".join(SYMBOLS[z] for z in sorted(unknown))


def _relaxed(atoms: Atoms, calc: BaseCalculator) -> Atoms:
    frame = at_rest(atoms, calc, CRYSTAL)
    positions = frame.positions.round(DECIMALS)
    return Atoms(frame.numbers, positions, cell=frame.cell, pbc=True)


def _finite(numbers: Numbers) -> dict[str, dict[str, float]]:
    """Return numbers fit for JSON.

    Raises:
        SimulationError: one of them is none.
    """
    plain = {
        name: {part: float(value) for part, value in components.items()}
        for name, components in numbers.items()
    }
    for name, components in plain.items():
        if not all(map(math.isfinite, components.values())):
            raise SimulationError(f"Expected a finite {name}, got NaN or infinity.")
    return plain
