"""Structures of many files computed in batches, each result written as it comes."""

from __future__ import annotations

from matkit.calculator import MatkitCalculator
from matkit.cli.job_runs import JobRun, RunContext
from matkit.cli.progress import Meter, metered
from matkit.cli.spread_batches import spread_batches
from matkit.cli.tasks import AnyResult, Many
from matkit.simulate.reading import Frame


class _UnwrittenError(Exception):
    """The disk takes no more, so that nothing further is computed."""


def batches_suit(context: RunContext) -> bool:
    """Return whether structures of a command are computed in batches."""
    config, task = context.config, context.task
    if task.run_many is None or getattr(config, "batch_size", 1) == 1:
        return False
    return isinstance(context.calc, MatkitCalculator) and task.suits_batches(config)


def run_together(waiting: list[tuple[JobRun, Frame]], context: RunContext) -> None:
    """Compute structures in batches.

    Args:
        waiting: Structures with the jobs that they belong to.
        context: What all jobs share.
    """
    frames = []
    for run, frame in waiting:
        if frame.atoms is None:
            run.fail(frame, "error", frame.error)
        else:
            frames.append((run, frame, frame.atoms))
    label = context.common["command"]
    with metered(context.display, label) as meter:
        progress = _Progress(meter, len(frames))

        def end(number: int, result: AnyResult) -> None:
            run, frame, _ = frames[number]
            with meter.paused():
                if result.atoms.calc is None:
                    run.fail(frame, result.reason, getattr(result, "message", ""))
                else:
                    run.keep(frame, result)
            progress.count(run.rows[frame.index]["converged"])
            if run.rows[frame.index]["reason"] == "unwritten":
                raise _UnwrittenError

        def fail(number: int, reason: str, message: str) -> None:
            run, frame, _ = frames[number]
            with meter.paused():
                run.fail(frame, reason, message)
            progress.count(False)

        assert context.task.run_many is not None
        many = Many(
            [atoms for _, _, atoms in frames],
            [run.job.frame_base(frame) for run, frame, _ in frames],
            [run.job.number(frame) for run, frame, _ in frames],
            end,
            progress.step,
        )
        try:
            if context.executor is None:
                context.task.run_many(many, context.calc, context.config)
            else:
                spread_batches(many, context, fail)
        except _UnwrittenError:
            for run, frame, _ in frames:
                if frame.index not in run.rows:
                    run.fail(frame, "unwritten", "not started")


class _Progress:
    """Shows how many structures are done; nothing on a quiet display."""

    def __init__(self, meter: Meter, total: int) -> None:
        self.meter, self.total = meter, total
        self.done = self.failed = 0

    def step(self, step: int, steps: int) -> None:
        self.meter.show(step, steps, f"step {step} of {steps}, {self.total - self.done} under way")

    def count(self, converged: bool) -> None:
        self.done += 1
        self.failed += not converged
        self.meter.show(self.done, self.total, f"{self.done}/{self.total}, {self.failed} failed")
