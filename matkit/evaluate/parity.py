"""Parity plots: predictions against labels."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from matkit.data.dataset import Dataset
from matkit.data.references import fit_references
from matkit.evaluate.comparison import Evaluation
from matkit.evaluate.tables import HEADINGS, SHOWN
from matkit.geometry import to_voigt
from matkit.report.tables import number

# With more points than this the density is drawn, since dots would hide each other.
DOTS = 2000
TITLES = {
    "energy": ("energy above references", "eV/atom"),
    "energy_fitted": ("energy*, references fitted", "eV/atom"),
    "forces": ("force components", "eV/Å"),
    "stress": ("stress components", "eV/Å³"),
}

Points = tuple[NDArray[np.float64], NDArray[np.float64]]


def parity_figure(evaluation: Evaluation, dataset: Dataset, title: str = "") -> Figure:
    """Return a figure with one panel for each quantity that can be compared."""
    points = {key: parity_points(evaluation, dataset, key) for key in TITLES}
    shown = {key: pair for key, pair in points.items() if len(pair[0])}
    figure = Figure(figsize=(4.2 * max(1, len(shown)), 4.2), layout="constrained")
    if not shown:
        figure.text(0.5, 0.5, "nothing can be compared", ha="center")
        return figure
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for (key, pair), axes in zip(shown.items(), panels, strict=True):
        _draw(axes, pair, TITLES[key])
        _, unit, factor, kinds = SHOWN[key]
        errors = (f"{HEADINGS[k]} {number(factor * _error(evaluation, key, k))}" for k in kinds)
        axes.set_title(f"{TITLES[key][0]}\n{', '.join(errors)} {unit}", fontsize="medium")
    if title:
        figure.suptitle(title)
    return figure


def parity_points(evaluation: Evaluation, dataset: Dataset, quantity: str) -> Points:
    """Return labels and predictions of one quantity, flat, where both are numbers.

    Energies are per atom and relative to references that are fitted to the labels: total energies
    hide in their digits what a model has to learn.
    """
    structures = dataset.structures
    energies = _above_references(dataset)
    labels = {
        "energy": energies,
        "energy_fitted": energies,
        "forces": structures.atom["forces"],
        "stress": to_voigt(structures.system["stress"]),
    }
    label = labels[quantity].numpy().ravel()
    predicted = label + evaluation.differences[quantity].numpy().ravel()
    known = np.isfinite(predicted)
    return label[known], predicted[known]


def _above_references(dataset: Dataset) -> Tensor:
    structures = dataset.structures
    energies = structures.system["energy"]
    count = int(energies.isfinite().sum())
    if not count:
        return energies
    fit = fit_references(dataset, energies)
    per_atom = energies / structures.n_atoms
    # With so few structures the fit would leave nothing.
    return fit.residuals if count > len(fit.e0s) else per_atom - per_atom.nanmean()


def _error(evaluation: Evaluation, quantity: str, kind: str) -> float:
    return getattr(evaluation.total[quantity], kind)


def _draw(axes: Axes, points: Points, names: tuple[str, str]) -> None:
    low, high = (function([function(p) for p in points]) for function in (np.min, np.max))
    margin = 0.04 * (high - low) or 0.5
    low, high = float(low - margin), float(high + margin)
    if len(points[0]) > DOTS:
        extent = (low, high, low, high)
        axes.hexbin(*points, gridsize=80, bins="log", mincnt=1, extent=extent, linewidths=0.1)
    else:
        axes.scatter(*points, s=9, alpha=0.6, linewidths=0)
    axes.plot([low, high], [low, high], color="black", linewidth=0.6)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.ticklabel_format(useOffset=False)
    axes.set(xlabel=f"label ({names[1]})", ylabel=f"prediction ({names[1]})")
