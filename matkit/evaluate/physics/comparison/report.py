"""A comparison as a document, a page and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matkit.evaluate.physics.comparison.differences import Distance, by_place, distances
from matkit.evaluate.physics.comparison.published import SOURCES, published
from matkit.evaluate.physics.comparison.run import PhysicsEntry
from matkit.evaluate.physics.comparison.tables import (
    distance_rows,
    failure_lines,
    failure_rows,
    number_rows,
)
from matkit.evaluate.physics.quantity import mean_absolute, quantity
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.tables import as_text

COUNTED = "mean absolute difference, and in brackets of how many items"


@dataclass(frozen=True)
class PhysicsComparison:
    """What a comparison found.

    Attributes:
        entries: What was found of every model.
        models: Names of the models, the reference first.
        published: Published numbers of the same crystals.
        distances: How far the models are from the reference, and all from published numbers.
    """

    entries: Sequence[PhysicsEntry]
    models: Sequence[str]
    published: Sequence[PhysicsEntry]
    distances: Sequence[Distance]

    @property
    def reference(self) -> str:
        """Model that the others are compared with."""
        return self.models[0]

    def tables(self) -> dict[str, list[list[str]]]:
        """Return the tables of differences by what these are from."""
        found = dict.fromkeys(one.against for one in self.distances)
        return {
            name: distance_rows([one for one in self.distances if one.against == name])
            for name in found
        }


def physics_comparison(entries: Sequence[PhysicsEntry]) -> PhysicsComparison:
    """Return the differences between models, the first of which is the reference."""
    models = list(dict.fromkeys(entry.model for entry in entries))
    first = [entry for entry in entries if entry.model == models[0]]
    known = published([entry.place for entry in first])
    found = distances(entries, models[1:], first)
    for name in SOURCES:
        found += distances(entries, models, [entry for entry in known if entry.model == name])
    return PhysicsComparison(entries, models, known, found)


def comparison_document(comparison: PhysicsComparison) -> dict[str, Any]:
    """Return every number, for JSON."""
    return {
        "reference": comparison.reference,
        "distances": [asdict(one) for one in comparison.distances],
        "numbers": [_entry(entry) for entry in comparison.entries],
        "published": {"sources": SOURCES, "numbers": [_entry(e) for e in comparison.published]},
    }


def _entry(entry: PhysicsEntry) -> dict[str, Any]:
    return {
        "model": entry.model,
        "quantity": entry.place.quantity,
        "of": entry.place.subject,
        "status": entry.status,
        "reason": entry.reason,
        "seconds": entry.seconds,
        "numbers": entry.numbers,
    }


def comparison_lines(comparison: PhysicsComparison) -> str:
    """Return the tables for a terminal."""
    parts = [
        f"{COUNTED}, from {name}\n{as_text(rows)}" for name, rows in comparison.tables().items()
    ]
    return "\n\n".join(filter(None, [*parts, failure_lines(comparison.entries)]))


def comparison_page(comparison: PhysicsComparison, metrics: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        comparison: What was found.
        metrics: Content of comparison.json.
    """
    return render(
        "physics_comparison",
        title=f"Physics of {', '.join(comparison.models)}",
        counted=COUNTED,
        tables=comparison.tables(),
        sources=SOURCES,
        figures={name: png(figure) for name, figure in figures(comparison)},
        numbers=number_rows(
            [*comparison.entries, *comparison.published], [*comparison.models, *SOURCES]
        ),
        failures=failure_rows(comparison.entries),
        settings=metrics["options"],
        models=metrics["models"],
        versions=metrics["versions"],
    )


def figures(comparison: PhysicsComparison) -> Iterator[tuple[str, Figure]]:
    """Give a figure for each quantity: numbers of the models over those of the reference."""
    known = by_place(comparison.entries, comparison.reference)
    for name in dict.fromkeys(key for key, _ in known) if len(comparison.models) > 1 else ():
        kinds = quantity(name).NUMBERS
        drawn = [number for number, kind in kinds.items() if kind.difference is mean_absolute]
        figure = Figure(figsize=(4.2 * len(drawn), 4.2), layout="constrained")
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for number, axes in zip(drawn, panels, strict=True):
            for model in comparison.models[1:]:
                points = _points(comparison, (model, name, number))
                axes.scatter(*points, s=12, alpha=0.6, linewidths=0, label=model)
            _finish(axes, f"{number} ({kinds[number].unit})", comparison.reference)
        yield name, figure


def _points(
    comparison: PhysicsComparison, what: tuple[str, str, str]
) -> tuple[list[float], list[float]]:
    """Return components of the reference and of a model, where both have them."""
    model, name, number = what
    mine = by_place(comparison.entries, model)
    known = by_place(comparison.entries, comparison.reference)
    pairs = [
        (value, mine[key].numbers[number][part])
        for key, entry in known.items()
        if key[0] == name and number in mine[key].numbers
        for part, value in entry.numbers.get(number, {}).items()
        if part in mine[key].numbers[number]
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _finish(axes: Axes, title: str, reference: str) -> None:
    """Draw where points of equal numbers are, and name the axes."""
    limits = axes.get_xlim(), axes.get_ylim()
    low, high = float(np.min(limits)), float(np.max(limits))
    axes.plot([low, high], [low, high], color="black", linewidth=0.6)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=title)
    axes.set(xlabel=reference, ylabel="model")
    axes.legend(loc="upper left")
