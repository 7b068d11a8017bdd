"""Run a simulation command over all its structures and write the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import model_info
from matkit.cli.batches import batches_suit, run_together
from matkit.cli.configs import RunConfig
from matkit.cli.display import Display, first_line
from matkit.cli.job_runs import JobRun, RunContext, summary_of
from matkit.cli.jobs import Job, check_outputs, isotope_notes, plan
from matkit.cli.products import Row
from matkit.cli.progress import simulation
from matkit.cli.spread_batches import check_workers, open_workers
from matkit.cli.tasks import TASKS, Task
from matkit.errors import MatkitError
from matkit.runs.versions import versions
from matkit.simulate.reading import Frame

OK, NOT_CONVERGED, INTERRUPTED = 0, 1, 130
# Files whose structures share batches; each has its results open meanwhile.
GROUP = 200


def load_model(config: RunConfig) -> BaseCalculator:
    """Return the calculator that `config` asks for."""
    from matkit.models.zoo import load_calculator

    return load_calculator(
        config.model,
        config.device,
        config.dtype,
        any_level=config.any_level,
        ignore_charge=config.ignore_charge,
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
    context = RunContext(task, config, calc, display, common, load_model)
    check_workers(context, batches_suit(context))
    with open_workers(config) as executor:
        rows, ended = _run_all(jobs, replace(context, executor=executor))
    document = summary_of(context, rows, time.perf_counter() - begin)
    display.document(document | {"outputs": _existing(jobs, command, task, config)})
    if ended == "interrupted":
        display.note(f"Stopped by the user; what was computed is in {config.out}.")
        return INTERRUPTED
    return OK if document["converged"] else NOT_CONVERGED


def _run_all(jobs: list[Job], context: RunContext) -> tuple[list[Row], str | None]:
    """Run all jobs; return what became of their structures, and what ended it early."""
    rows: list[Row] = []
    ended: str | None = None
    for group in _groups(jobs, context):
        with ExitStack() as stack:
            runs = [stack.enter_context(JobRun(job, context)) for job in group]
            _run_group(runs, context, ended)
        rows += [row for run in runs for row in run.ordered()]
        ended = ended or next(filter(None, (run.ended() for run in runs)), None)
    return rows, ended


def _groups(jobs: list[Job], context: RunContext) -> Iterator[list[Job]]:
    """Give jobs that run at once: many if they share batches, else each by itself."""
    size = GROUP if batches_suit(context) else 1
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _run_group(runs: list[JobRun], context: RunContext, ended: str | None) -> None:
    """Run all structures of some jobs, those that were not done by a run before."""
    waiting: list[tuple[JobRun, Frame]] = []
    for run in runs:
        for frame in run.job.frames:
            if ended is not None:
                run.fail(frame, ended, "not started")
            elif not run.is_done(frame):
                waiting.append((run, frame))
    if batches_suit(context) and (len(waiting) > 1 or context.executor is not None):
        run_together(waiting, context)
    else:
        for run, frame in waiting:
            _run_frame(run, frame, context)


def _run_frame(run: JobRun, frame: Frame, context: RunContext) -> None:
    """Run one structure, unless the run has ended with one before it."""
    if (ended := run.ended()) is not None:
        run.fail(frame, ended, "not started")
    elif frame.atoms is None:
        run.fail(frame, "error", frame.error)
    else:
        try:
            _compute(run, frame, frame.atoms, context)
        except KeyboardInterrupt:  # between two structures, or while a result is written
            run.fail(frame, "interrupted", "stopped by the user")


def _compute(run: JobRun, frame: Frame, atoms: Atoms, context: RunContext) -> None:
    # Without a neighbour list of the structure before, results are the same in every order.
    reset = getattr(context.calc, "reset", None)
    if reset is not None:
        reset()
    job, config = run.job, context.config
    try:
        with simulation(context.display, job.label(frame.index)) as show:
            base = job.frame_base(frame)
            result = context.task.run(atoms, context.calc, config, base, show)
    except KeyboardInterrupt:
        run.fail(frame, "interrupted", "stopped by the user before the first result")
    except Exception as error:
        expected = isinstance(error, OSError) and not isinstance(error, MatkitError)
        if len(job.frames) == 1 and len(config.struct) == 1 and not expected:
            raise
        run.fail(frame, "error", f"{type(error).__name__}: {error}")
    else:
        run.keep(frame, result)


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
