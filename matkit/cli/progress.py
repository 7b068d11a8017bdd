"""How far a command is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from matkit.cli.display import Display
from matkit.runs.schedule import OnProgress, WorkProgress
from matkit.simulate.results import OnStep, SimulationProgress

# Seconds between lines where there is no terminal.
INTERVAL = 10.0


class Meter:
    """Shows how far one thing is; nothing if the display is quiet.

    Args:
        display: Where it is shown.
        label: What it is.
        bar: Bar that is shown already; without one there are lines.
    """

    def __init__(self, display: Display, label: str, bar: Progress | None) -> None:
        self._display, self._label, self._bar = display, label, bar
        self._task = bar.add_task(label, total=None, words="") if bar is not None else None
        self._begin = self._last = time.perf_counter()
        self._first = self._done = float("inf")

    def show(
        self, done: float, total: float | None, words: str, seconds_left: float | None = None
    ) -> None:
        """Show where it is.

        Args:
            done: How much of `total` is done.
            total: How much there is, None if nobody knows.
            words: The same for people, with everything else they should know.
            seconds_left: Time that is left; by default it is estimated from the speed so far.
        """
        now = time.perf_counter()
        if done < self._done:  # it begins, or a further file does
            self._first, self._begin = done, now
        self._done = done
        if seconds_left is None and total is not None and done > self._first:
            seconds_left = (total - done) * (now - self._begin) / (done - self._first)
        text = words if seconds_left is None else f"{words}, {duration(seconds_left)} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, words=text)
        elif now - self._last >= INTERVAL:
            self._last = now
            self._display.note(f"{self._label}: {text}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while results are printed: both would share a line of the terminal."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()


@contextmanager
def metered(display: Display, label: str) -> Iterator[Meter]:
    """Give a meter, and take its bar away in the end."""
    if not display.interactive:
        yield Meter(display, label, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeElapsedColumn(), console=display.console, transient=True) as bar:
        yield Meter(display, label, bar)


@contextmanager
def simulation(display: Display, label: str) -> Iterator[OnStep | None]:
    """Give a callback that shows the progress of a simulation; None if nobody looks."""
    if display.quiet:
        yield None
        return
    with metered(display, label) as meter:

        def show(state: SimulationProgress) -> None:
            words = f"step {state.step} of at most {state.steps}, {_numbers(state)}"
            meter.show(state.step, state.steps, words)

        yield show


@contextmanager
def campaign(display: Display, label: str) -> Iterator[OnProgress | None]:
    """Give a callback that shows how far a campaign is; None if nobody looks."""
    if display.quiet:
        yield None
        return
    with metered(display, label) as meter:

        def show(state: WorkProgress) -> None:
            counts = f"{state.rejected} rejected, {state.failed} failed"
            words = f"{state.done}/{state.total}, {counts}"
            meter.show(state.done, state.total, words, state.seconds_left)

        yield show


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _numbers(state: SimulationProgress) -> str:
    texts = [f"{state.energy:.4f} eV"]
    if state.max_force is not None:
        texts.append(f"force {state.max_force:.4f} eV/Å")
    if state.temperature is not None:
        texts.append(f"{state.temperature:.0f} K")
    return ", ".join(texts)
