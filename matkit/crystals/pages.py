"""The report on generated crystals as a page in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from matkit.crystals.judging import Geometry
from matkit.crystals.reading import Crystal
from matkit.crystals.results import CrystalEvaluation, Judged
from matkit.crystals.scores import GATES
from matkit.crystals.writing import UNITS, formula, match_cells
from matkit.evaluate.scores import score_cells
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import Scene, scene

# Reasons that are shown; all are in metrics.json.
MOST_REASONS = 30
BINS = 40
# Crystals that are drawn.
PICTURES = 12


def crystals_page(evaluation: CrystalEvaluation, metrics: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        evaluation: Crystals, for the histograms and pictures.
        metrics: Content of metrics.json.
    """
    generated = evaluation.generated
    usable = [generated.crystals[i] for i in generated.usable]
    return render(
        "crystals",
        title="Generated crystals",
        units=UNITS,
        entries=[_entries(name, found) for name, found in metrics["counts"].items()],
        scores=score_cells(evaluation.scores),
        matches=match_cells(evaluation.matches) if evaluation.matches else [],
        gates=GATES,
        scenes=[_scene(crystal) for crystal in usable[:PICTURES]],
        histograms=png(histograms(generated, evaluation.reference)),
        settings=metrics["options"],
        versions=metrics["versions"],
    )


def _scene(crystal: Crystal) -> Scene:
    assert crystal.structure is not None  # of one that is usable
    lattice, positions = crystal.structure.lattice.matrix, crystal.structure.cart_coords
    atoms = Atoms(crystal.numbers, positions, cell=lattice, pbc=True)
    return scene([atoms], [f"{crystal.source}: {formula(crystal)}"])


def _entries(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of a set, and why some of its entries are no crystals."""
    reasons = list(found["reasons"].items())
    return {
        "name": name,
        "counts": {key: value for key, value in found.items() if key != "reasons"},
        "reasons": dict(reasons[:MOST_REASONS]),
        "more": max(0, len(reasons) - MOST_REASONS),
    }


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
