"""``matkit label``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from matkit.cli.display import INTERVAL, Display
from matkit.label.api import label
from matkit.label.options import LabelConfig
from matkit.label.run import Labelling
from matkit.runs.schedule import OnProgress, WorkProgress

OK, SOME_FAILED = 0, 1
# Reasons that are printed; all are in the ledger.
MOST_REASONS = 5


def run_label(config: LabelConfig, display: Display) -> int:
    """Label structures.

    Returns:
        Exit code: 1 if some structures failed.

    Raises:
        ConfigError: no structures are named.
    """
    display.note(f"Labels of {config.calculator}; matkit models in {config.precision}")
    with progress(display, "labelling") as show:
        result = label(config, on_progress=show)
    _report(result, display)
    return SOME_FAILED if result.failed else OK


def _report(result: Labelling, display: Display) -> None:
    display.result(
        f"{result.files.frames}: {result.done} labelled, {result.rejected} rejected, "
        f"{result.failed} failed"
    )
    if ignored := result.document["ignored"]:
        display.result(f"{ignored} with a charge or multiplicity that the model ignores")
    report_failures(result.reasons, result.files.ledger.name, display)
    display.document(result.document | {"out": str(result.files.frames)})


def report_failures(reasons: tuple[tuple[str, str], ...], ledger: str, display: Display) -> None:
    """Say which items failed, the first of them."""
    for source, reason in reasons[:MOST_REASONS]:
        display.note(f"failed: {source}: {reason}")
    if len(reasons) > MOST_REASONS:
        display.note(f"... and {len(reasons) - MOST_REASONS} more; all are in {ledger}")


@contextmanager
def progress(display: Display, label: str) -> Iterator[OnProgress | None]:
    """Give a callback that shows how far a campaign is."""
    if display.quiet:
        yield None
    elif display.interactive:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        more = (TextColumn("{task.fields[state]}"), TimeElapsedColumn())
        with Progress(*columns, *more, console=display.console, transient=True) as bar:
            yield _bar_callback(bar, label)
    else:
        yield _line_callback(display, label)


def _bar_callback(bar: Progress, label: str) -> OnProgress:
    task = bar.add_task(label, total=None, state="")

    def show(state: WorkProgress) -> None:
        bar.update(task, completed=state.done, total=state.total, state=_describe(state))

    return show


def _line_callback(display: Display, label: str) -> OnProgress:
    last = time.perf_counter()

    def show(state: WorkProgress) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= INTERVAL or state.done == state.total:
            last = now
            display.note(f"{label}: {state.done}/{state.total}, {_describe(state)}")

    return show


def _describe(state: WorkProgress) -> str:
    left = "" if state.seconds_left is None else f", {_duration(state.seconds_left)} left"
    return f"{state.rejected} rejected, {state.failed} failed{left}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
