"""How far a training has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from matkit.errors import CheckpointError
from matkit.train.optimizers import learning_rate
from matkit.train.options import OptimizerOptions

Row = dict[str, float]


@dataclass
class TrainingProgress:
    """How far a training has come.

    Attributes:
        step: Optimiser steps done.
        epoch: Passes completed.
        batch: Batches of the present pass done.
        sums: Training losses of the present pass, summed over its batches.
        history: One row of the log for each validation.
        best: Smallest validation loss.
        waited: Validations since then.
        finished: Whether there is nothing left to do.
        reason: Why it ended, if before the last epoch.
        retained: Force error on the retained set before training.
        start: Validation errors before training.
        failure: Why the training failed, if its end is far worse than its start.
        seconds: Time spent, that of interrupted runs up to their checkpoint included.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: Row = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: float = float("inf")
    waited: int = 0
    finished: bool = False
    reason: str = ""
    retained: float | None = None
    start: Row = field(default_factory=dict)
    failure: str = ""
    seconds: float = 0.0

    def count(self, loss: Tensor, means: dict[str, Tensor]) -> None:
        """Add one step."""
        self.step, self.batch = self.step + 1, self.batch + 1
        for key, value in {"loss": loss, **means}.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach())

    def judge(self, loss: float, retained: Row, options: OptimizerOptions) -> bool:
        """Return whether this is the best model so far; end the training if it should end."""
        limit = getattr(options, "retain_limit", None)
        if limit and self.retained and retained["forces_mae"] > limit * self.retained:
            self.finished, self.reason = True, "the error on the retained set exceeds retain_limit"
            return False
        better = loss < self.best
        self.best, self.waited = (loss, 0) if better else (self.best, self.waited + 1)
        if options.patience is not None and self.waited >= options.patience:
            self.finished, self.reason = True, "no improvement for `patience` validations"
        return better

    def row(self, valid: Row, retained: Row) -> Row:
        """Return the row of the log for a validation, and start new sums."""
        count = self.step - (self.history[-1]["step"] if self.history else 0)
        row: Row = {"epoch": self.epoch, "step": self.step, "minutes": self.seconds / 60}
        row |= {f"train_{key}": value / count for key, value in self.sums.items()}
        row |= {f"valid_{key}": value for key, value in valid.items()}
        row |= {f"retained_{key}": value for key, value in retained.items()}
        self.sums = {}
        self.history.append(row)
        return row


def extend(progress: TrainingProgress, before: int, options: OptimizerOptions) -> str:
    """Let a run go on to another last epoch, and return what that means.

    Raises:
        CheckpointError: the run is beyond that epoch.
    """
    epochs, done = options.max_num_epochs, progress.epoch
    if epochs == before:
        more = "ask for more with max_num_epochs"
        return f"The run has ended after {done} epochs; {more}." if progress.finished else ""
    if epochs < done or (epochs == done and progress.batch):
        raise CheckpointError(
            f"The run has {done} epochs already, so that it cannot end after {epochs}. Ask for "
            "more with max_num_epochs, or start anew under another name."
        )
    if epochs > done:
        progress.finished, progress.reason, progress.failure, progress.waited = False, "", "", 0
    rate = learning_rate(done / epochs, options)
    return (
        f"The run goes on to epoch {epochs} instead of {before}. The learning rate now follows its "
        f"course ({options.scheduler}) over all {epochs} epochs: after epoch {done} it is "
        f"{rate:.3g}, where it was {learning_rate(done / max(before, 1), options):.3g}."
    )
