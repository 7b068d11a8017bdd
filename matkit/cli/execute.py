"""Run a simulation command over all its structures and write the results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from matkit.cache import write_atomically
from matkit.cli.configs import RunConfig
from matkit.cli.display import Display
from matkit.cli.jobs import Job, check_outputs, isotope_notes, plan, with_earlier
from matkit.cli.tasks import TASKS, AnyResult, Task
from matkit.cli.yaml_files import dump_config
from matkit.simulate.files import TextFile, append_frame
from matkit.simulate.reading import Frame
from matkit.simulate.summary import model_info, versions

Row = dict[str, Any]

OK, NOT_CONVERGED, INTERRUPTED = 0, 1, 130


def load_model(config: RunConfig) -> BaseCalculator:
    """Return the calculator that `config` asks for."""
    from matkit.zoo import load_calculator

    return load_calculator(config.model, device=config.device, dtype=config.dtype)


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
    display.note(_introduction(config, info))
    display.few(isotope_notes(jobs))
    common = {"command": command, "model": info, "versions": versions()}
    rows: list[Row] = []
    for job in jobs:
        rows += _run_job(job, task, _Context(config, calc, display, common), _stopped(rows))
    document = _document(common, config, rows, time.perf_counter() - begin)
    display.document(document | {"outputs": _existing(jobs, command, task, config)})
    if _stopped(rows):
        display.note(f"Stopped by the user; what was computed is in {config.out}.")
        return INTERRUPTED
    return OK if document["converged"] else NOT_CONVERGED


class _Context:
    """What all jobs of a command share."""

    def __init__(
        self, config: RunConfig, calc: BaseCalculator, display: Display, common: Mapping[str, Any]
    ) -> None:
        self.config, self.calc, self.display, self.common = config, calc, display, common


def _run_job(job: Job, task: Task, context: _Context, stopped: bool) -> list[Row]:
    """Run all structures of a file; its results are written as they come."""
    begin = time.perf_counter()
    files = job.main_files(context.common["command"], task.product)
    resolved, settings = files["config"], dump_config(context.config).encode()
    is_new = not resolved.exists()
    if is_new:
        write_atomically(resolved, settings)
    try:
        rows = _run_frames(job, task, context, stopped)
    except Exception:
        if is_new:
            resolved.unlink()
        raise
    document = _document(context.common, context.config, rows, time.perf_counter() - begin)
    summary = with_earlier(files["summary"], document)
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    write_atomically(files["summary"], text.encode())
    write_atomically(resolved, settings)
    return rows


def _run_frames(job: Job, task: Task, context: _Context, stopped: bool) -> list[Row]:
    """Run all structures of a file; the first result replaces the file of an older run."""
    rows: list[Row] = []
    product: TextFile | None = None
    with ExitStack() as stack:
        for frame in job.frames:
            if stopped or _stopped(rows):
                row, result = _bad(job, frame, "interrupted", "not started"), None
            else:
                row, result = _run_frame(job, frame, task, context)
            if result is not None:
                if product is None:
                    path = job.file(f"-{task.product}.extxyz")
                    product = stack.enter_context(TextFile(path))
                append_frame(product, result.atoms, frame=frame.index, reason=result.reason)
            context.display.result(_line(job, row, task, result))
            rows.append(row)
    return rows


def _run_frame(
    job: Job, frame: Frame, task: Task, context: _Context
) -> tuple[Row, AnyResult | None]:
    if frame.atoms is None:
        return _bad(job, frame, "error", frame.error), None
    label = _label(job, frame.index)
    try:
        with context.display.progress(label) as show:
            base = job.frame_base(frame)
            result = task.run(frame.atoms, context.calc, context.config, base, show)
    except KeyboardInterrupt:
        return _bad(job, frame, "interrupted", "stopped by the user before the first result"), None
    except Exception as error:
        if len(job.frames) == 1 and len(context.config.struct) == 1:
            raise
        return _bad(job, frame, "error", f"{type(error).__name__}: {error}"), None
    start = {"source": job.source, "index": frame.index, "formula": str(frame.atoms.symbols)}
    return start | result.row(), result


def _bad(job: Job, frame: Frame, reason: str, message: str) -> Row:
    formula = str(frame.atoms.symbols) if frame.atoms is not None else None
    start = {"source": job.source, "index": frame.index, "formula": formula}
    return start | {"converged": False, "reason": reason, "message": message}


def _stopped(rows: list[Row]) -> bool:
    return any(row["reason"] == "interrupted" for row in rows)


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


def _introduction(config: RunConfig, info: Mapping[str, Any]) -> str:
    dtype, device = info.get("dtype", config.dtype), info.get("device", config.device)
    licence = f", licence {info['licence']}" if "licence" in info else ""
    return f"Model {config.model}{licence}; {dtype} on {device}; results in {config.out}"


def _label(job: Job, index: int) -> str:
    return job.source if len(job.frames) == 1 else f"{job.source}[{index}]"


def _line(job: Job, row: Row, task: Task, result: AnyResult | None) -> str:
    text = [f"{_label(job, row['index'])} {row['formula'] or ''}".strip(), ": ", row["reason"]]
    if result is not None:
        text += [", ", task.describe(result)]
    message = f" ({row['message']})" if row.get("message") else ""
    first, newline, tables = "".join(text).partition("\n")
    return f"{first}{message}{newline}{tables}"
