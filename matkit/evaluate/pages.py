"""The report of a training as a page, made from its metrics alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.figure import Figure

from matkit.evaluate.figures import energy_volume_figure, learning_figure, nve_figure
from matkit.evaluate.tables import HEAD_ROWS, NOTE, cells, lines_of, overview, remarks, verdicts
from matkit.report.figures import png
from matkit.report.html import image, page, paragraph, section, settings, table
from matkit.report.tables import number

Metrics = Mapping[str, Any]
# Reports of sets with many kinds of structures show this many of them.
MOST_GROUPS = 60


def render(metrics: Metrics, parity: Mapping[str, Figure]) -> str:
    """Return the page.

    Args:
        metrics: Content of `metrics.json`.
        parity: Parity plots by name.
    """
    parts = [
        paragraph(f"{metrics['ended']} Every number of this page is in metrics.json."),
        section("Errors", _errors(metrics["errors"])),
        section("Learning curves", _learning(metrics["history"])),
        section("Errors by file, config_type and element", _details(metrics["errors"])),
        section("Predictions against labels", _parity(parity)),
    ]
    if "spot_checks" in metrics:
        parts.append(section("Spot checks of the physics", _spot_checks(metrics["spot_checks"])))
    parts += [
        section("Models", (_named(name, item) for name, item in metrics["models"].items())),
        section("Data", _data(metrics)),
        section("Settings", [settings(metrics["settings"])]),
        section("Versions", [settings(metrics["versions"])]),
    ]
    return page(metrics["title"], parts)


def _errors(errors: Mapping[str, Any]) -> Iterator[str]:
    for text in (*verdicts(errors), *remarks(errors)):
        yield paragraph(text)
    lines = overview(errors)
    if lines:
        yield table(cells(lines), HEAD_ROWS)
        yield paragraph(NOTE)


def _details(errors: Mapping[str, Any]) -> Iterator[str]:
    for name, models in errors.items():
        for model, found in models.items():
            groups = found.get("groups", [])[1:]
            if groups:
                yield paragraph(f"{name}, {model}")
                yield table(cells(lines_of(groups[:MOST_GROUPS])), HEAD_ROWS)
            if len(groups) > MOST_GROUPS:
                yield paragraph(f"and {len(groups) - MOST_GROUPS} more in metrics.json")


def _learning(history: list[Mapping[str, float]]) -> Iterator[str]:
    if history:
        yield image(png(learning_figure(history)), "losses and validation errors over the epochs")
    else:
        yield paragraph("No epoch was completed.")


def _parity(figures: Mapping[str, Figure]) -> Iterator[str]:
    for name, figure in figures.items():
        yield paragraph(name)
        yield image(png(figure), f"predictions against labels, {name}")


def _spot_checks(checks: Metrics) -> Iterator[str]:
    if "skipped" in checks:
        yield paragraph(f"Skipped: {checks['skipped']}.")
        return
    yield paragraph(f"Structure: {checks['source']} ({checks['formula']}).")
    yield from _curve_and_table(
        checks["energy_volume"],
        energy_volume_figure,
        {"equilibrium_volume": "equilibrium volume, Å³/atom", "bulk_modulus": "bulk modulus, GPa"},
        "Energy over volume, positions scaled with the cell and not relaxed",
    )
    yield from _curve_and_table(
        checks["nve"],
        nve_figure,
        {
            "steps": "steps",
            "timestep": "time step, fs",
            "temperature": "mean temperature, K",
            "drift": "drift, meV/atom/ps",
            "reason": "ended",
        },
        "Dynamics at constant energy, started at 300 K",
    )


def _curve_and_table(
    found: Mapping[str, Any], draw: Any, columns: Mapping[str, str], title: str
) -> Iterator[str]:
    done = {name: item for name, item in found.items() if "skipped" not in item}
    yield paragraph(f"{title}:")
    if done:
        yield image(png(draw(done)), title)
        head = ["", *columns.values()]
        rows = [[name, *(_value(item.get(k)) for k in columns)] for name, item in done.items()]
        yield table([head, *rows], 1)
    for name, item in found.items():
        if item.get("message"):
            yield paragraph(f"{name}: {item['message']}.")
        if "skipped" in item:
            yield paragraph(f"Skipped for {name}: {item['skipped']}.")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return "-" if value is None else str(value)


def _data(metrics: Metrics) -> Iterator[str]:
    for name, facts in metrics["sets"].items():
        yield _named(name, facts)
    if metrics["facts"]:
        yield _named("found before training", metrics["facts"])


def _named(name: str, values: Mapping[str, Any]) -> str:
    return f"{paragraph(name)}{settings(values)}"
