"""What was found as a table of crystals, a document and lines to print."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from matkit.crystals.judging import SYMPRECS
from matkit.crystals.reading import Crystal
from matkit.crystals.results import CrystalEvaluation, Judged
from matkit.crystals.scores import GATES, Match
from matkit.report.tables import percent, shown

# Said in the reports, for whoever opens the table.
UNITS = (
    "In structures.csv distances are in Å, densities in g/cm³, volumes in Å³/atom, energies in "
    "eV/atom; space_group_0.1 is the number of the space group at a tolerance (symprec) of 0.1 Å."
)


def structures_csv(evaluation: CrystalEvaluation) -> str:
    """Return one line for each generated entry, usable or not."""
    rows = [entry_row(evaluation, i) for i in range(len(evaluation.generated.crystals))]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def entry_row(evaluation: CrystalEvaluation, i: int) -> dict[str, Any]:
    """Return what is known of generated entry number `i`, as a row of a table."""
    judged = evaluation.generated
    crystal, facts, repeats = judged.crystals[i], judged.facts[i], judged.repeats.like[i]
    known = evaluation.known
    row: dict[str, Any] = {
        "source": crystal.source,
        "formula": formula(crystal),
        "n_atoms": len(crystal.numbers),
        "structural_validity": facts.structural,
        "compositional_validity": facts.compositional,
        "valid": facts.valid,
        **_geometry(judged, i),
        "unique": _flag(judged, i, repeats),
        "like": "" if repeats is None else judged.crystals[repeats].source,
        "novel": "" if known is None else _flag(judged, i, known.like[i]),
        "energy_per_atom": _at(judged.energies, i),
        "above_hull": _at(judged.above_hull, i),
        "reason": facts.reason,
    }
    return row


def formula(crystal: Crystal) -> str:
    """Return the formula of the cell, or nothing if there are no atoms."""
    from ase.symbols import Symbols

    return Symbols(crystal.numbers).get_chemical_formula("metal") if crystal.loaded else ""


def _geometry(judged: Judged, i: int) -> dict[str, Any]:
    geometry = judged.facts[i].geometry
    groups = geometry.space_groups if geometry is not None else (None,) * len(SYMPRECS)
    found = {
        "closest": None if geometry is None else geometry.closest,
        "own_image": None if geometry is None else geometry.own_image,
        "density": None if geometry is None else geometry.density,
        "volume_per_atom": None if geometry is None else geometry.volume,
        **{f"space_group_{s:g}": group for s, group in zip(SYMPRECS, groups, strict=True)},
    }
    return {name: _short(value) for name, value in found.items()}


def _flag(judged: Judged, i: int, like: int | None) -> Any:
    return "" if judged.facts[i].geometry is None else like is None


def _at(values: Sequence[float | None], i: int) -> Any:
    return _short(values[i]) if values else ""


def _short(value: float | None) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def counts_of(judged: Judged) -> dict[str, Any]:
    """Return how many entries there are, how many could be used, and why others not."""
    crystals, facts = judged.crystals, judged.facts
    loaded = sum(crystal.loaded for crystal in crystals)
    reasons = {
        crystal.source: fact.reason
        for crystal, fact in zip(crystals, facts, strict=True)
        if fact.geometry is None
    }
    return {
        "entries": len(crystals),
        "loaded": loaded,
        "failed": len(crystals) - loaded,
        "not a crystal": len(reasons) - (len(crystals) - loaded),
        "reasons": reasons,
    }


def match_documents(matches: Sequence[Match]) -> list[dict[str, Any]]:
    """Return match rates as plain dictionaries."""
    return [
        {**vars(row), "tolerances": vars(row.tolerances), "gate_means": GATES[row.gate]}
        for row in matches
    ]


def match_cells(matches: Sequence[Match]) -> list[list[str]]:
    """Return the table of match rates, with one row of headings."""
    head = ["tolerances", "samples", "validity gate", "match rate", "RMSE", "RMSE, stol if none"]
    rows = [[*head, "ceiling", "undecided"]]
    for row in matches:
        values = [shown(value) for value in (row.rmse, row.rmse_all)]
        shares = percent(row.rate), percent(row.ceiling)
        name = f"{row.tolerances.name} ({row.tolerances})"
        cells = [name, str(row.samples), row.gate, shares[0], *values, shares[1]]
        rows.append([*cells, str(row.undecided)])
    return rows
