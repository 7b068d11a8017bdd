"""The report on molecules as a page in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from matkit.evaluate.scores import score_cells
from matkit.molecules.distributions import internal_coordinates
from matkit.molecules.evaluation import JudgedMolecules, MoleculeEvaluation
from matkit.molecules.judging import DrawnMolecule
from matkit.molecules.tables import UNITS, drawings, scenes
from matkit.report.figures import png
from matkit.report.pages import render

BINS = 60
# Molecules whose coordinates are in the histograms.
MOST = 1000
# Reasons that are shown; all are in the table.
MOST_REASONS = 30


def molecules_page(
    evaluation: MoleculeEvaluation,
    drawn: Sequence[DrawnMolecule],
    metrics: Mapping[str, Any],
    files: Sequence[str],
) -> str:
    """Return the page.

    Args:
        evaluation: Molecules.
        drawn: The same with their coordinates.
        metrics: Content of metrics.json.
        files: Files beside the page.
    """
    pairs = [(f"{i}: {one.source}", one.atoms) for i, one in enumerate(drawn)]
    read = [(title, atoms) for title, atoms in pairs if atoms is not None]
    return render(
        "molecules",
        title="Generated molecules",
        units=UNITS,
        files=files,
        counts=metrics["counts"],
        reasons=_reasons(evaluation),
        scores=score_cells(evaluation.scores),
        drawings=drawings(evaluation, {i: str(i) for i in range(len(drawn))}),
        scenes=scenes(read),
        histograms=png(histograms(evaluation)),
        settings=metrics["options"],
        versions=metrics["versions"],
    )


def _reasons(evaluation: MoleculeEvaluation) -> dict[str, str]:
    found = {
        str(i): one.verdict.reason
        for i, one in enumerate(evaluation.molecules)
        if one.verdict.reason
    }
    return dict(list(found.items())[:MOST_REASONS])


def histograms(evaluation: MoleculeEvaluation) -> Figure:
    """Return the distributions of both sets, in fractions."""
    sets = {"generated": _quantities(evaluation.molecules)}
    if evaluation.reference:
        sets["reference"] = _quantities(evaluation.reference)
    strains = [one["strain"] for one in evaluation.strains.values() if "strain" in one]
    if strains:
        sets["generated"]["relaxation energy (kcal/mol)"] = strains
    labels = list(sets["generated"])
    figure = Figure(figsize=(10.5, 6.2), layout="constrained")
    places = figure.subplots(2, 3).flatten()
    for axes in places[len(labels) :]:
        axes.remove()
    for axes, label in zip(places, labels, strict=False):
        drawn = {name: found[label] for name, found in sets.items() if found.get(label)}
        for name, values in drawn.items():
            weights = np.full(len(values), 1 / len(values))
            bins = _bins(np.concatenate([*drawn.values()]), label == SIZES)
            axes.hist(values, bins=bins, weights=weights, alpha=0.55, label=name)
        axes.set(xlabel=label, ylabel="fraction")
        if drawn:
            axes.legend(loc="upper right")
    return figure


SIZES = "atoms"


def _quantities(judged: JudgedMolecules) -> dict[str, Sequence[float]]:
    valid = [one.verdict.molecule for one in judged[:MOST] if one.verdict.valid]
    found = internal_coordinates(valid)
    units = {"bond lengths": "bond length (Å)", "angles": "angle (°)", "torsions": "torsion (°)"}
    quantities: dict[str, Sequence[float]] = {SIZES: [one.n_atoms for one in judged if one.n_atoms]}
    for kind, label in units.items():
        quantities[label] = [value for values in found[kind].values() for value in values]
    return quantities


def _bins(values: np.ndarray, whole: bool) -> np.ndarray:
    """Return the edges, around whole numbers or up to the 99.5th percentile."""
    if whole:
        return np.arange(values.min() - 0.5, values.max() + 1)
    high = float(np.percentile(values, 99.5))
    return np.linspace(values.min(), max(high, values.min() + 1e-6), BINS + 1)
