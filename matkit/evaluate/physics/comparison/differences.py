"""How far models are from a reference, one number for each kind of quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from matkit.evaluate.physics.comparison.run import PhysicsEntry
from matkit.evaluate.physics.quantity import NumberKind, quantity

ByPlace = Mapping[tuple[str, str], PhysicsEntry]


@dataclass(frozen=True)
class Distance:
    """How far a model is from a reference in one number.

    Attributes:
        against: Name of the reference.
        quantity: Name of the quantity.
        number: What is compared, as tables call it.
        unit: Its unit.
        model: Name of the model.
        mean: Mean over items of their difference, mostly the mean absolute one; None without any.
        items: Number of items in the mean.
        failed: Number of items of which the reference has a number and the model failed.
    """

    against: str
    quantity: str
    number: str
    unit: str
    model: str
    mean: float | None
    items: int
    failed: int

    @property
    def heading(self) -> str:
        """What it is, with the unit."""
        return f"{self.number} ({self.unit})" if self.unit else self.number


def by_place(entries: Sequence[PhysicsEntry], model: str) -> ByPlace:
    """Return the entries of a model by quantity and subject."""
    return {(e.place.quantity, e.place.subject): e for e in entries if e.model == model}


def distances(
    entries: Sequence[PhysicsEntry], models: Sequence[str], reference: Sequence[PhysicsEntry]
) -> list[Distance]:
    """Return how far every model is from a reference; what it does not have is left out.

    Args:
        entries: What was found of the models.
        models: Models to compare.
        reference: What is known of the reference.
    """
    quantities = dict.fromkeys(entry.place.quantity for entry in reference)
    return [
        _distance((name, number, kind), by_place(entries, model), known)
        for name in quantities
        for number, kind in quantity(name).NUMBERS.items()
        if (known := [e for e in reference if e.place.quantity == name and number in e.numbers])
        for model in models
    ]


def _distance(
    what: tuple[str, str, NumberKind], found: ByPlace, known: list[PhysicsEntry]
) -> Distance:
    name, number, kind = what
    pairs = [(found[name, entry.place.subject], entry) for entry in known]
    apart = [value for pair in pairs if (value := item_difference(kind, number, *pair)) is not None]
    return Distance(
        against=known[0].model,
        quantity=name,
        number=kind.label or number,
        unit="" if kind.label else kind.unit,
        model=pairs[0][0].model,
        mean=float(np.mean(apart)) if apart else None,
        items=len(apart),
        failed=sum(entry.status == "failed" for entry, _ in pairs),
    )


def item_difference(
    kind: NumberKind, number: str, entry: PhysicsEntry, known: PhysicsEntry
) -> float | None:
    """Return how far one item is from the reference; None if they cannot be compared."""
    if entry.status == "failed":
        return kind.failed
    values, reference = entry.numbers.get(number, {}), known.numbers.get(number, {})
    if not reference or values.keys() != reference.keys():
        return None
    return kind.difference(values, reference)


def single_numbers(entry: PhysicsEntry | None) -> Iterator[tuple[str, str, float]]:
    """Give heading, unit and value of the numbers of an entry that have one component."""
    if entry is None:
        return
    for number, kind in quantity(entry.place.quantity).NUMBERS.items():
        components = entry.numbers.get(number, {})
        if len(components) == 1:
            part, value = next(iter(components.items()))
            yield f"{number} {part}".rstrip(), kind.unit, value
