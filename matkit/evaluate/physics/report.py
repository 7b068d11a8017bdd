"""What the checks of a model found, as a document, a page and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.figure import Figure

from matkit.evaluate.figures import energy_volume_figure, nve_figure, one_panel
from matkit.evaluate.physics.crystal_checks import CONSERVATION, ELASTIC, EQUATION, PHONONS
from matkit.evaluate.physics.diatomics import DIATOMIC
from matkit.evaluate.physics.run import PhysicsResult
from matkit.evaluate.physics.verdicts import table_of, tally
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import scene
from matkit.report.tables import as_text, shown

# Energies of pairs of atoms above this are not drawn, eV: the wall would hide the well.
HIGHEST = 5.0
# What is known of a crystal, and where it is found.
COLUMNS = {
    "edges of its cell (Å)": (EQUATION, "cell_lengths"),
    "volume (Å³/atom)": (EQUATION, "equilibrium_volume"),
    "bulk modulus (GPa)": (EQUATION, "bulk_modulus"),
    "shear modulus (GPa)": (ELASTIC, "shear"),
    "highest frequency (THz)": (PHONONS, "highest_frequency"),
}
FIGURES = {EQUATION: energy_volume_figure, CONSERVATION: nve_figure}


def document(result: PhysicsResult) -> dict[str, Any]:
    """Return everything that was found, for JSON."""
    return {
        "passes": result.passes,
        "tally": tally(result.checks),
        "checks": [check.document() for check in result.checks],
    }


def lines(result: PhysicsResult) -> str:
    """Return the tables for a terminal; numbers of the checks, which are long, are not aligned."""
    rows = table_of(result.checks)
    aligned = as_text([row[:-1] for row in rows]).splitlines()
    checks = [f"{line}  {row[-1]}" for line, row in zip(aligned, rows, strict=True)]
    crystals = crystal_rows(result)
    return "\n".join([*checks, *(["", as_text(crystals)] if crystals else [])])


def crystal_rows(result: PhysicsResult) -> list[list[str]]:
    """Return what was found of each crystal, below a row of headings; nothing without any."""
    facts: dict[str, dict[tuple[str, str], Any]] = {}
    for check in result.checks:
        facts.setdefault(check.subject, {}).update(
            {(check.kind, k): v for k, v in check.facts.items()}
        )
    rows = [
        [name, *(shown(found.get(key)) for key in COLUMNS.values())]
        for name, found in facts.items()
        if found.keys() & set(COLUMNS.values())
    ]
    return [["crystal", *COLUMNS], *rows] if rows else []


def physics_page(result: PhysicsResult, metrics: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        result: What was found.
        metrics: Content of physics.json.
    """
    return render(
        "physics",
        title=f"Physics of {metrics['options']['model']}",
        tally=tally(result.checks),
        rows=table_of(result.checks),
        crystals=crystal_rows(result),
        figures={kind: png(figure) for kind, figure in figures(result).items()},
        scenes=[scene([atoms], [name]) for name, atoms in result.crystals.items()],
        settings=metrics["options"],
        model=metrics["model"],
        versions=metrics["versions"],
    )


def figures(result: PhysicsResult) -> dict[str, Figure]:
    """Return the curves of each kind of check that has some."""
    drawn = {**FIGURES, DIATOMIC: diatomic_figure}
    found = {kind: dict(_curves(result, kind)) for kind in drawn}
    return {kind: drawn[kind](curves) for kind, curves in found.items() if curves}


def _curves(result: PhysicsResult, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give subject and facts of the checks of one kind that have a curve."""
    names = {"energy", "total_energy"}
    yield from (
        (check.subject, check.facts)
        for check in result.checks
        if check.kind == kind and names & check.facts.keys()
    )


def diatomic_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return energies of pairs of atoms over their distance."""
    figure, axes = one_panel("distance (Å)", "energy (eV)")
    lowest = min(min(curve["energy"]) for curve in curves.values())
    for name, curve in curves.items():
        axes.plot(curve["distance"], curve["energy"], label=name, linewidth=1.1)
    axes.set_ylim(1.1 * lowest - 0.1, HIGHEST)
    axes.legend(loc="upper right")
    return figure
