"""What a user sees while a command runs: progress, one line per structure, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from matkit.simulate.results import OnStep, SimulationProgress

# Seconds between progress lines where there is no terminal.
INTERVAL = 10.0
# Remarks of one kind that are printed.
MOST = 5


class _Console(Console):
    """A console that leaves it to us what a closed pipe means; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Let the error through."""
        raise BrokenPipeError


class Display:
    """Where messages go: results to stdout, everything else to stderr.

    Args:
        as_json: Print one JSON document to stdout and nothing else there.
        quiet: Print errors only.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._out = _Console(soft_wrap=True, highlight=False, markup=False)
        self._err = _Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    @property
    def console(self) -> Console:
        """Where progress is shown."""
        return self._err

    @property
    def interactive(self) -> bool:
        """Whether a bar can be shown."""
        return self._err.is_terminal and not self.quiet

    def note(self, text: str) -> None:
        """Say something by the way."""
        if not self.quiet:
            self._print(self._err, text)

    def few(self, texts: Sequence[str]) -> None:
        """Say the first of many things by the way, and how many there are."""
        for text in texts[:MOST]:
            self.note(text)
        if len(texts) > MOST:
            self.note(f"... and {len(texts) - MOST} more")

    def result(self, text: str) -> None:
        """Print a result; with JSON it is in the document instead."""
        if not (self.quiet or self.as_json):
            self._print(self._out, text)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print the JSON document, if asked for."""
        if self.as_json:
            text = json.dumps(content, indent=2, allow_nan=False)
            self._print(self._out, text, overflow="ignore")

    def error(self, text: str) -> None:
        """Print an error."""
        self._print(self._err, f"Error: {text}", style="red")

    def _print(self, console: Console, text: str, **how: Any) -> None:
        """Print; a terminal or pipe that was closed, or a full disk behind it, ends no run."""
        with suppress(OSError):
            console.print(text, **how)

    @contextmanager
    def progress(self, label: str) -> Iterator[OnStep | None]:
        """Give a callback that shows the progress of one simulation."""
        if self.quiet:
            yield None
        elif self._err.is_terminal:
            with _bar(self._err) as bar:
                yield _bar_callback(bar, label)
        else:
            yield _line_callback(self._err, label)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _bar_callback(bar: Progress, label: str) -> OnStep:
    task = bar.add_task(label, total=None, state="")

    def show(state: SimulationProgress) -> None:
        bar.update(task, completed=state.step, total=state.steps, state=_describe(state))

    return show


def _line_callback(console: Console, label: str) -> OnStep:
    begin = last = time.perf_counter()
    first: int | None = None

    def show(state: SimulationProgress) -> None:
        nonlocal last, first
        now = time.perf_counter()
        first = state.step if first is None else first
        if now - last >= INTERVAL:
            last, speed = now, (state.step - first) / (now - begin)
            left = f", {(state.steps - state.step) / speed:.0f} s left at most" if speed else ""
            with suppress(OSError):  # the terminal was closed
                console.print(f"{label}: step {state.step}/{state.steps}, {_describe(state)}{left}")

    return show


def _describe(state: SimulationProgress) -> str:
    texts = [f"{state.energy:.4f} eV"]
    if state.max_force is not None:
        texts.append(f"force {state.max_force:.4f} eV/Å")
    if state.temperature is not None:
        texts.append(f"{state.temperature:.0f} K")
    return ", ".join(texts)
