"""Figures of the report besides parity plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from matkit.evaluate.tables import SHOWN

Row = Mapping[str, float]
PREFIXES = {"train": "training", "valid": "validation", "retained": "retained set"}
COLOURS = {"train": "tab:blue", "valid": "tab:orange", "retained": "tab:green"}


def learning_figure(history: Sequence[Row]) -> Figure:
    """Return loss and validation errors over the epochs.

    Args:
        history: Rows of the log, at least one.
    """
    names = dict.fromkeys(name for row in history for name in row)
    errors = [key for key in ("energy", "forces", "stress") if f"valid_{key}_mae" in names]
    figure = Figure(figsize=(4.2 * (1 + len(errors)), 3.4), layout="constrained")
    panels = figure.subplots(1, 1 + len(errors), squeeze=False)[0]
    draw_curves(panels[0], history, "loss", 1.0)
    panels[0].set_ylabel("loss")
    for key, axes in zip(errors, panels[1:], strict=True):
        heading, unit, factor, _ = SHOWN[key]
        draw_curves(axes, history, f"{key}_mae", factor)
        axes.set_ylabel(f"{heading}, MAE ({unit})")
    for axes in panels:
        _add_minutes(axes, history[-1])
    return figure


def _add_minutes(axes: Axes, last: Row) -> None:
    """Add a scale of the time above the one of the epochs, at the mean speed of the training."""
    if last.get("minutes"):
        each = last["minutes"] / last["epoch"]
        scale = (lambda epoch: epoch * each, lambda minutes: minutes / each)
        axes.secondary_xaxis("top", functions=scale).set_xlabel("minutes")


def energy_volume_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return energies over volumes, one curve for each model, each from its own minimum."""
    figure, axes = one_panel("volume (Å³/atom)", "energy above the lowest (meV/atom)")
    for name, curve in curves.items():
        lowest = min(curve["energy"])
        axes.plot(curve["volume"], [1000 * (e - lowest) for e in curve["energy"]], "o-", label=name)
    axes.legend(loc="upper right")
    return figure


def nve_figure(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return the change of the total energy in dynamics at constant energy, for each model."""
    figure, axes = one_panel("time (fs)", "change of the total energy (meV/atom)")
    for name, run in runs.items():
        axes.plot(run["time"], run["total_energy"], label=name, linewidth=0.9)
    axes.legend(loc="upper right")
    return figure


def one_panel(x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.ticklabel_format(useOffset=False)
    return figure, axes


def draw_curves(axes: Axes, history: Sequence[Row], column: str, factor: float) -> None:
    """Draw a column of the log for every set that has it; logarithmic over decades."""
    drawn = []
    for prefix, name in PREFIXES.items():
        rows = [row for row in history if f"{prefix}_{column}" in row]
        values = [factor * row[f"{prefix}_{column}"] for row in rows]
        if rows:
            marker = "o" if len(rows) < 20 else ""
            epochs = [row["epoch"] for row in rows]
            axes.plot(epochs, values, marker=marker, color=COLOURS[prefix], label=name)
        drawn += values
    if 0 < 10 * min(drawn) < max(drawn):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.legend(loc="upper right")
