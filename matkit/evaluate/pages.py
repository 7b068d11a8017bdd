"""The report of a training as a page, made from its metrics alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from matplotlib.figure import Figure

from matkit.evaluate.figures import energy_volume_figure, learning_figure, nve_figure
from matkit.evaluate.tables import HEAD_ROWS, NOTE, cells, lines_of, overview, remarks, verdicts
from matkit.report.figures import png
from matkit.report.pages import render

Metrics = Mapping[str, Any]
# Reports of sets with many kinds of structures show this many of them.
MOST_GROUPS = 60
CURVE_COLUMNS = {
    "equilibrium_volume": "equilibrium volume, Å³/atom",
    "bulk_modulus": "bulk modulus, GPa",
}
NVE_COLUMNS = {
    "steps": "steps",
    "timestep": "time step, fs",
    "temperature": "mean temperature, K",
    "drift": "drift, meV/atom/ps",
    "reason": "ended",
}


def training_page(metrics: Metrics, parity: Mapping[str, Figure]) -> str:
    """Return the page.

    Args:
        metrics: Content of `metrics.json`.
        parity: Parity plots by name.
    """
    errors, history = metrics["errors"], metrics["history"]
    before = {"found before training": metrics["facts"]} if metrics["facts"] else {}
    lines = overview(errors)
    return render(
        "training",
        **{key: metrics[key] for key in ("title", "ended", "models", "settings", "versions")},
        statements=[*verdicts(errors), *remarks(errors)],
        errors=cells(lines) if lines else [],
        errors_note=NOTE,
        head_rows=HEAD_ROWS,
        learning=png(learning_figure(history)) if history else b"",
        groups=list(_groups(errors)),
        parity={name: png(figure) for name, figure in parity.items()},
        checks=_spot_checks(metrics["spot_checks"]) if "spot_checks" in metrics else {},
        data={**metrics["sets"], **before},
    )


def _groups(errors: Metrics) -> Iterator[dict[str, Any]]:
    """Give a table for each set and model that was compared in several groups."""
    for name, models in errors.items():
        for model, found in models.items():
            if groups := found.get("groups", [])[1:]:
                rows = cells(lines_of(groups[:MOST_GROUPS]))
                more = max(0, len(groups) - MOST_GROUPS)
                yield {"name": f"{name}, {model}", "rows": rows, "more": more}


def _spot_checks(checks: Metrics) -> dict[str, Any]:
    if "skipped" in checks:
        return {"skipped": checks["skipped"]}
    return {
        "skipped": "",
        "structure": f"{checks['source']} ({checks['formula']})",
        "energy_volume": _curves(checks["energy_volume"], energy_volume_figure, CURVE_COLUMNS),
        "nve": _curves(checks["nve"], nve_figure, NVE_COLUMNS),
    }


def _curves(
    found: Metrics, draw: Callable[[Metrics], Figure], columns: Mapping[str, str]
) -> dict[str, Any]:
    """Return the figure and table of the models that were checked, and why others were not."""
    done = {name: item for name, item in found.items() if "skipped" not in item}
    said = [f"{name}: {item['message']}." for name, item in found.items() if item.get("message")]
    said += [
        f"Skipped for {name}: {item['skipped']}."
        for name, item in found.items()
        if "skipped" in item
    ]
    rows = [[name, *(item.get(key) for key in columns)] for name, item in done.items()]
    return {
        "figure": png(draw(done)) if done else b"",
        "rows": [["", *columns.values()], *rows],
        "remarks": said,
    }
