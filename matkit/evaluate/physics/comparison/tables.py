"""Tables of a comparison: differences, single numbers, what failed, and every number as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence

from matkit.evaluate.physics.comparison.differences import Distance, by_place, single_numbers
from matkit.evaluate.physics.comparison.run import PhysicsEntry
from matkit.evaluate.physics.quantity import quantity
from matkit.report.tables import number

HEAD = ["model", "quantity", "of", "number", "component", "unit", "value", "reference"]
MISSING = "-"
# Letters of a reason in the terminal; the whole is in the page.
MOST = 100


def distance_rows(distances: Sequence[Distance]) -> list[list[str]]:
    """Return one row for each number and one column for each model, below a row of headings."""
    models = list(dict.fromkeys(one.model for one in distances))
    cells: dict[str, list[str]] = {}
    for one in distances:
        cells.setdefault(one.heading, []).append(_cell(one))
    return [["", *models], *([heading, *row] for heading, row in cells.items())]


def _cell(one: Distance) -> str:
    """Return e.g. ``0.0123 (28, 2 failed)``: the mean, of how many items."""
    mean = MISSING if one.mean is None else number(one.mean)
    failed = f", {one.failed} failed" if one.failed else ""
    return f"{mean} ({one.items}{failed})"


def number_rows(entries: Sequence[PhysicsEntry], models: Sequence[str]) -> list[list[str]]:
    """Return all numbers with one component, a column for each model, below a row of headings."""
    columns = [by_place(entries, model) for model in models]
    rows = [["of", "number", "unit", *models]]
    for key in dict.fromkeys((e.place.quantity, e.place.subject) for e in entries):
        found = [
            {heading: (unit, value) for heading, unit, value in single_numbers(column.get(key))}
            for column in columns
        ]
        for heading in dict.fromkeys(heading for one in found for heading in one):
            unit = next(one[heading][0] for one in found if heading in one)
            values = [number(one[heading][1]) if heading in one else MISSING for one in found]
            rows.append([key[1], heading, unit, *values])
    return rows


def failure_rows(entries: Sequence[PhysicsEntry]) -> list[list[str]]:
    """Return what could not be computed and why, below a row of headings; nothing if all was."""
    rows = [
        [e.model, e.place.subject, e.place.quantity, e.reason]
        for e in entries
        if e.status != "done"
    ]
    return [["model", "of", "quantity", "reason"], *rows] if rows else []


def failure_lines(entries: Sequence[PhysicsEntry]) -> str:
    """Return the same for a terminal, with long reasons cut; nothing if all was computed."""
    cells = [[*row[:-1], textwrap.shorten(row[-1], MOST)] for row in failure_rows(entries)]
    return "\n".join("  ".join(row) for row in cells)


def as_csv(entries: Sequence[PhysicsEntry], reference: str) -> str:
    """Return one row for every component of every number, beside that of the reference."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEAD)
    known = by_place(entries, reference)
    for entry in entries:
        place = entry.place
        for name, components in entry.numbers.items():
            unit = quantity(place.quantity).NUMBERS[name].unit
            theirs = known[place.quantity, place.subject].numbers.get(name, {})
            for part, value in components.items():
                start = [entry.model, place.quantity, place.subject, name, part, unit]
                writer.writerow([*start, repr(value), repr(theirs[part]) if part in theirs else ""])
    return buffer.getvalue()
