"""The report on generated crystals as a page in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from matkit.crystals.judging import Geometry
from matkit.crystals.results import CrystalEvaluation, Judged
from matkit.crystals.scores import GATES
from matkit.crystals.writing import UNITS, match_cells, score_cells
from matkit.report.figures import png
from matkit.report.html import image, page, paragraph, section, settings, table

# Reasons that are shown; all are in metrics.json.
MOST_REASONS = 30
BINS = 40


def render(evaluation: CrystalEvaluation, metrics: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        evaluation: Crystals, for the histograms.
        metrics: Content of metrics.json.
    """
    parts = [
        paragraph("Every number of this page is in metrics.json, every crystal in structures.csv."),
        paragraph(UNITS),
        section("Entries", _entries(metrics["counts"])),
        section("Scores", [table(score_cells(evaluation.scores), 1)]),
    ]
    if evaluation.matches:
        notes = [paragraph(f"{gate}: {text}") for gate, text in GATES.items()]
        parts.append(section("Matches", [table(match_cells(evaluation.matches), 1), *notes]))
    picture = image(png(histograms(evaluation.generated, evaluation.reference)), "histograms")
    parts += [
        section("Distributions", [picture]),
        section("Settings", [settings(metrics["options"])]),
        section("Versions", [settings(metrics["versions"])]),
    ]
    return page("Generated crystals", parts)


def histograms(generated: Judged, reference: Judged | None) -> Figure:
    """Return the distributions of both sets, in fractions of the crystals."""
    sets = {"generated": generated, **({"reference": reference} if reference else {})}
    quantities = {name: _quantities(judged) for name, judged in sets.items()}
    labels = list(quantities["generated"])
    figure = Figure(figsize=(10.5, 6.2), layout="constrained")
    for axes, label in zip(figure.subplots(2, 3).flat, labels, strict=True):
        drawn = {name: found[label] for name, found in quantities.items() if found[label]}
        values = np.concatenate([*drawn.values()]) if drawn else np.zeros(1)
        bins = _bins(values, whole=label in WHOLE)
        for name, items in drawn.items():
            weights = np.full(len(items), 1 / len(items))
            axes.hist(items, bins=bins, weights=weights, alpha=0.55, label=name)
        axes.set(xlabel=label, ylabel="fraction")
        if drawn:
            axes.legend(loc="upper right")
    return figure


ATOMS, ELEMENTS = "atoms in the cell", "number of elements"
GROUP = "space group (symprec 0.1 Å)"
WHOLE = (ATOMS, ELEMENTS)


def _quantities(judged: Judged) -> dict[str, list[float]]:
    crystals = [judged.crystals[i] for i in judged.usable]
    shapes = [g for i in judged.usable if (g := judged.facts[i].geometry) is not None]
    return {
        "density (g/cm³)": [one.density for one in shapes],
        "volume (Å³/atom)": [one.volume for one in shapes],
        "smallest distance (Å)": [min(one.closest, one.own_image) for one in shapes],
        ATOMS: [float(len(one.numbers)) for one in crystals],
        ELEMENTS: [float(len(set(one.numbers))) for one in crystals],
        GROUP: _groups(shapes),
    }


def _groups(shapes: Sequence[Geometry]) -> list[float]:
    return [float(one.space_groups[-1]) for one in shapes if one.space_groups[-1] is not None]


def _bins(values: np.ndarray, whole: bool) -> np.ndarray:
    """Return the edges, around whole numbers or up to the 99.5th percentile."""
    if whole:
        return np.arange(values.min() - 0.5, values.max() + 1)
    high = np.percentile(values, 99.5)
    return np.linspace(values.min(), max(high, values.min() + 1e-6), BINS + 1)


def _entries(counts: Mapping[str, Any]) -> Iterator[str]:
    for name, found in counts.items():
        numbers = {key: value for key, value in found.items() if key != "reasons"}
        yield paragraph(f"{name}:") + settings(numbers)
        reasons = list(found["reasons"].items())
        if reasons:
            yield settings(dict(reasons[:MOST_REASONS]))
        if len(reasons) > MOST_REASONS:
            yield paragraph(f"and {len(reasons) - MOST_REASONS} more in metrics.json")
