"""The report at the end of training a generator: learning curves, data and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from matkit.evaluate.figures import draw_curves
from matkit.evaluate.report import METRICS, REPORT
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.report.pages import render
from matkit.runs.atomic import write_atomically
from matkit.runs.versions import versions
from matkit.train.options import TrainerOptions
from matkit.train.reporting import ending
from matkit.train.session import TrainingResult

# Curves side by side.
PANELS = 4


def report(
    outcome: TrainingResult, options: TrainerOptions, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `report.html` and `metrics.json` into the folder of a training.

    Args:
        outcome: What the training left.
        options: Its options.
        facts: What was found out about the data.

    Returns:
        What is in `metrics.json`.
    """
    metrics = plain(
        {
            "title": f"Training of {options.name}",
            "ended": ending(outcome),
            "settings": options.model_dump(),
            "facts": dict(facts),
            "history": outcome.history,
            "versions": versions(),
        }
    )
    write_atomically(outcome.folder / METRICS, json_bytes(metrics))
    write_atomically(outcome.folder / REPORT, _page(metrics).encode())
    return metrics


def _page(metrics: Mapping[str, Any]) -> str:
    names = ("title", "ended", "facts", "settings", "versions")
    return render(
        "generator_training",
        learning=png(loss_figure(metrics["history"])),
        **{name: metrics[name] for name in names},
    )


def loss_figure(history: list[Mapping[str, float]]) -> Figure:
    """Return the loss and its terms over the epochs.

    Args:
        history: Rows of the log, at least one.
    """
    names = [key.removeprefix("valid_") for key in history[0] if key.startswith("valid_")]
    columns = min(len(names), PANELS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels[len(names) :]:
        axes.remove()
    for name, axes in zip(names, panels, strict=False):
        draw_curves(axes, history, name, 1.0)
        axes.set_ylabel(name)
    return figure
