"""One input file while its structures are computed, in whatever order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Self

from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import ignored_conditions
from matkit.cli.configs import RunConfig
from matkit.cli.display import Display
from matkit.cli.jobs import Job, with_earlier
from matkit.cli.products import Products, Row, unwritten
from matkit.cli.tasks import AnyResult, Task
from matkit.options import dump_config
from matkit.runs.atomic import write_atomically
from matkit.simulate.reading import Frame


@dataclass(frozen=True)
class RunContext:
    """What all jobs of a command share.

    Attributes:
        task: What is done.
        config: Its configuration.
        calc: The calculator.
        display: Where to report.
        common: Beginning of every summary: command, model, versions.
        load: Makes the calculator of a configuration, for workers.
        executor: Where batches are computed; None for this process.
    """

    task: Task
    config: RunConfig
    calc: BaseCalculator
    display: Display
    common: Mapping[str, Any]
    load: Callable[[RunConfig], BaseCalculator]
    executor: Executor | None = None


class JobRun:
    """Writes what becomes of the structures of a job, as it comes, and its summary in the end.

    Args:
        job: Input file and names of its results.
        context: What all jobs share.

    Attributes:
        rows: What became of the structures so far, by their number in the file.

    Raises:
        ConfigError: another run is writing the same files, or the run to go on with had other
            options.
    """

    def __init__(self, job: Job, context: RunContext) -> None:
        self.job, self.context = job, context
        self.rows: dict[int, Row] = {}
        command = context.common["command"]
        self._files = job.main_files(command, context.task.product)
        self._settings = dump_config(context.config).encode()

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        context, command = self.context, self.context.common["command"]
        self._lock = self.job.lock()
        self._is_new = not self._files["config"].exists()
        try:
            if self._is_new:
                write_atomically(self._files["config"], self._settings)
            weights = context.common["model"].get("sha256")
            self._products = Products(self.job, command, context.task, context.config, weights)
        except BaseException:
            self._take_back()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self._products.close()
            if kind is not None and issubclass(kind, Exception):
                if self._is_new:
                    self._files["config"].unlink()
                return
            if self.ended() is None:
                self._products.sort()
            self._write_summary()
        finally:
            self._lock.close()

    def is_done(self, frame: Frame) -> bool:
        """Return whether an earlier run has done a structure, and take its row over."""
        row = self._products.known(frame)
        if row is None:
            return False
        self.rows[frame.index] = row
        self.context.display.result(f"{self.job.label(frame.index)}: done before")
        return True

    def fail(self, frame: Frame, reason: str, message: str) -> None:
        """Write down that there is no result of a structure."""
        self._keep(frame, self._start(frame, reason, message), None)

    def keep(self, frame: Frame, result: AnyResult) -> None:
        """Write down the result of a structure."""
        assert frame.atoms is not None
        row = {"source": self.job.source, "index": frame.index, "formula": str(frame.atoms.symbols)}
        ignored = ignored_conditions(self.context.calc, result.atoms)
        row |= result.row() | ({"ignored": ignored} if ignored else {})
        self._keep(frame, row, result)

    def ended(self) -> str | None:
        """Return why no further structure is begun: the user's wish, or a disk that is full."""
        reasons = (row["reason"] for row in self.rows.values())
        return next((reason for reason in reasons if reason in ("interrupted", "unwritten")), None)

    def ordered(self) -> list[Row]:
        """Return the rows in the order of the file."""
        return [self.rows[frame.index] for frame in self.job.frames if frame.index in self.rows]

    def _start(self, frame: Frame, reason: str, message: str) -> Row:
        formula = str(frame.atoms.symbols) if frame.atoms is not None else None
        start = {"source": self.job.source, "index": frame.index, "formula": formula}
        return start | {"converged": False, "reason": reason, "message": message}

    def _keep(self, frame: Frame, row: Row, result: AnyResult | None) -> None:
        self.rows[frame.index] = row  # also if Ctrl-C comes while it is written
        row |= self._products.keep(frame, row, result)
        self.context.display.result(
            _described(self.job.label(frame.index), row, self.context.task, result)
        )

    def _write_summary(self) -> None:
        wall = time.perf_counter() - self._begin
        document = summary_of(self.context, self.ordered(), wall)
        summary = with_earlier(self._files["summary"], document)
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        try:
            write_atomically(self._files["summary"], text.encode())
            write_atomically(self._files["config"], self._settings)
        except OSError as error:  # the rows are printed all the same
            display = self.context.display
            display.error(f"The summary of {self.job.source} could not be written: {error}")
            self.ordered()[-1].update(unwritten("summary", error))

    def _take_back(self) -> None:
        if self._is_new:
            self._files["config"].unlink(missing_ok=True)
        self._lock.close()


def summary_of(context: RunContext, rows: list[Row], wall: float) -> dict[str, Any]:
    """Return what is written and printed of some structures.

    Args:
        context: What all jobs share.
        rows: What became of each.
        wall: Duration, s.
    """
    converged = all(row["converged"] for row in rows)
    end = {"converged": converged, "wall_time": wall, "structures": rows}
    return {**context.common, "options": context.config.model_dump(), **end}


def _described(label: str, row: Row, task: Task, result: AnyResult | None) -> str:
    text = [f"{label} {row['formula'] or ''}".strip(), ": ", row["reason"]]
    if result is not None:
        text += [", ", task.describe(result)]
    remarks = [f"{row['ignored']} ignored"] if row.get("ignored") else []
    remarks += [row["message"]] if row.get("message") else []
    message = f" ({'; '.join(remarks)})" if remarks else ""
    first, newline, tables = "".join(text).partition("\n")
    return f"{first}{message}{newline}{tables}"
