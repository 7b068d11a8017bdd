"""Run a simulation command over all its structures and write the results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import ignored_conditions, model_info
from matkit.cli.configs import RunConfig
from matkit.cli.display import Display, first_line
from matkit.cli.jobs import Job, check_outputs, isotope_notes, plan, with_earlier
from matkit.cli.products import Products, Row, unwritten
from matkit.cli.progress import simulation
from matkit.cli.tasks import TASKS, AnyResult, Task
from matkit.errors import MatkitError
from matkit.options import dump_config
from matkit.runs.atomic import write_atomically
from matkit.runs.versions import versions
from matkit.simulate.reading import Frame

OK, NOT_CONVERGED, INTERRUPTED = 0, 1, 130


def load_model(config: RunConfig) -> BaseCalculator:
    """Return the calculator that `config` asks for."""
    from matkit.models.zoo import load_calculator

    return load_calculator(
        config.model,
        config.device,
        config.dtype,
        any_level=config.any_level,
        ignore_charge=config.ignore_charge,
        dispersion=config.dispersion,
        dispersion_functional=config.dispersion_functional,
    )


def execute(command: str, config: RunConfig, display: Display) -> int:
    """Run one command.

    Args:
        command: Name in `TASKS`.
        config: Its configuration.
        display: Where to report.

    Returns:
        Exit code: 0 if every structure ended well, 1 if one did not, 130 after Ctrl-C.
    """
    task, begin = TASKS[command], time.perf_counter()
    jobs = plan(config)
    check_outputs(jobs, command, task, config)
    calc = load_model(config)
    info = model_info(calc)
    display.note(introduction(config, info))
    display.few(isotope_notes(jobs))
    common = {"command": command, "model": info, "versions": versions()}
    context = _Context(config, calc, display, common)
    rows: list[Row] = []
    for job in jobs:
        rows += _run_job(job, task, context, _ended(rows))
    document = _document(common, config, rows, time.perf_counter() - begin)
    display.document(document | {"outputs": _existing(jobs, command, task, config)})
    if _ended(rows) == "interrupted":
        display.note(f"Stopped by the user; what was computed is in {config.out}.")
        return INTERRUPTED
    return OK if document["converged"] else NOT_CONVERGED


@dataclass(frozen=True)
class _Context:
    """What all jobs of a command share."""

    config: RunConfig
    calc: BaseCalculator
    display: Display
    common: Mapping[str, Any]


def _run_job(job: Job, task: Task, context: _Context, ended: str | None) -> list[Row]:
    """Run all structures of a file; its results are written as they come."""
    begin = time.perf_counter()
    files = job.main_files(context.common["command"], task.product)
    settings = dump_config(context.config).encode()
    with job.lock():
        is_new = not files["config"].exists()
        if is_new:
            write_atomically(files["config"], settings)
        try:
            rows = _run_frames(job, task, context, ended)
        except Exception:
            if is_new:
                files["config"].unlink()
            raise
        document = _document(context.common, context.config, rows, time.perf_counter() - begin)
        summary = with_earlier(files["summary"], document)
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        try:
            write_atomically(files["summary"], text.encode())
            write_atomically(files["config"], settings)
        except OSError as error:  # the rows are printed all the same
            context.display.error(f"The summary of {job.source} could not be written: {error}")
            rows[-1] |= unwritten("summary", error)
    return rows


def _run_frames(job: Job, task: Task, context: _Context, ended: str | None) -> list[Row]:
    """Run all structures of a file, those that were not done by a run before."""
    rows: list[Row] = []
    command, weights = context.common["command"], context.common["model"].get("sha256")
    with Products(job, command, task, context.config, weights) as products:
        for frame in job.frames:
            ended = ended or _ended(rows)
            try:
                row = _next_row(job, frame, task, context, products, ended)
            except KeyboardInterrupt:  # between two structures, or while a result is written
                row = _bad(job, frame, "interrupted", "stopped by the user")
            rows.append(row)
    return rows


def _next_row(
    job: Job, frame: Frame, task: Task, context: _Context, products: Products, ended: str | None
) -> Row:
    """Return what becomes of a structure, done before, now or not at all."""
    if ended is None and (known := products.known(frame)) is not None:
        context.display.result(f"{_label(job, frame.index)}: done before")
        return known
    if ended is not None:
        row, result = _bad(job, frame, ended, "not started"), None
    else:
        row, result = _run_frame(job, frame, task, context)
    row |= products.keep(frame, row, result)
    context.display.result(_line(job, row, task, result))
    return row


def _run_frame(
    job: Job, frame: Frame, task: Task, context: _Context
) -> tuple[Row, AnyResult | None]:
    if frame.atoms is None:
        return _bad(job, frame, "error", frame.error), None
    label = _label(job, frame.index)
    # Without a neighbour list of the structure before, results are the same in every order.
    reset = getattr(context.calc, "reset", None)
    if reset is not None:
        reset()
    try:
        with simulation(context.display, label) as show:
            base = job.frame_base(frame)
            result = task.run(frame.atoms, context.calc, context.config, base, show)
    except KeyboardInterrupt:
        return _bad(job, frame, "interrupted", "stopped by the user before the first result"), None
    except Exception as error:
        expected = isinstance(error, OSError) and not isinstance(error, MatkitError)
        if len(job.frames) == 1 and len(context.config.struct) == 1 and not expected:
            raise
        return _bad(job, frame, "error", f"{type(error).__name__}: {error}"), None
    start = {"source": job.source, "index": frame.index, "formula": str(frame.atoms.symbols)}
    ignored = ignored_conditions(context.calc, result.atoms)
    return start | result.row() | ({"ignored": ignored} if ignored else {}), result


def _bad(job: Job, frame: Frame, reason: str, message: str) -> Row:
    formula = str(frame.atoms.symbols) if frame.atoms is not None else None
    start = {"source": job.source, "index": frame.index, "formula": formula}
    return start | {"converged": False, "reason": reason, "message": message}


def _ended(rows: list[Row]) -> str | None:
    """Return why no further structure is begun: the user's wish, or a disk that takes no more."""
    reasons = (row["reason"] for row in rows)
    return next((reason for reason in reasons if reason in ("interrupted", "unwritten")), None)


def _document(
    common: Mapping[str, Any], config: RunConfig, rows: list[Row], wall: float
) -> dict[str, Any]:
    converged = all(row["converged"] for row in rows)
    options = config.model_dump()
    end = {"converged": converged, "wall_time": wall, "structures": rows}
    return {**common, "options": options, **end}


def _existing(jobs: list[Job], command: str, task: Task, config: RunConfig) -> list[str]:
    paths: list[Path] = []
    for job in jobs:
        paths += job.main_files(command, task.product).values()
        for frame in job.frames:
            paths += task.files(config, job.frame_base(frame))
    return [str(path) for path in paths if path.exists()]


def introduction(config: RunConfig, info: Mapping[str, Any]) -> str:
    """Return with what a command computes, how precisely, and where its results go."""
    dtype, device = info.get("dtype", config.dtype), info.get("device", config.device)
    return first_line(config.model, dtype, device, config.out)


def _label(job: Job, index: int) -> str:
    return job.source if len(job.frames) == 1 else f"{job.source}[{index}]"


def _line(job: Job, row: Row, task: Task, result: AnyResult | None) -> str:
    text = [f"{_label(job, row['index'])} {row['formula'] or ''}".strip(), ": ", row["reason"]]
    if result is not None:
        text += [", ", task.describe(result)]
    remarks = [f"{row['ignored']} ignored"] if row.get("ignored") else []
    remarks += [row["message"]] if row.get("message") else []
    message = f" ({'; '.join(remarks)})" if remarks else ""
    first, newline, tables = "".join(text).partition("\n")
    return f"{first}{message}{newline}{tables}"
