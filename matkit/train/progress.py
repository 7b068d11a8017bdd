"""How far a training has come, and the checkpoint that holds it together with all weights."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from matkit.cache import write_atomically
from matkit.errors import CheckpointError
from matkit.train.optimizers import learning_rate
from matkit.train.options import OptimizerOptions

if TYPE_CHECKING:
    from matkit.train.loop import Trainer

Row = dict[str, float]
CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
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


def save_state(folder: Path, trainer: Trainer) -> None:
    """Write the checkpoint; all processes must come here, the first one writes."""
    if trainer.fabric.is_global_zero:
        state = {
            "progress": dataclasses.asdict(trainer.progress),
            "objective": trainer.objective.state_dict(),
            "average": trainer.average.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "options": trainer.options.model_dump(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(folder / CHECKPOINT, buffer.getvalue())
    trainer.fabric.barrier()


def load_state(folder: Path, trainer: Trainer) -> Progress:
    """Put everything back where the checkpoint says; without one, return a new beginning.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to other options, or the run is beyond
            the last epoch that is asked for.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return Progress()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        trainer.objective.load_state_dict(state["objective"])
        trainer.average.model.load_state_dict(state["average"])
        for optimizer, content in zip(trainer.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(content)
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged or belongs to another model ({error}). Start anew with --overwrite."
        ) from error
    _refuse_changed(path, state["options"], trainer.options.model_dump())
    progress = Progress(**state["progress"])
    if said := _extend(progress, state["options"]["max_num_epochs"], trainer.options):
        trainer.hooks.note(said)
    return progress


def _extend(progress: Progress, before: int, options: OptimizerOptions) -> str:
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


# Options that may differ when a run goes on.
MAY_CHANGE = {
    "max_num_epochs",
    *("work_dir", "name", "device", "num_workers", "restart", "max_time", "overwrite", "patience"),
    *(
        "checkpoint_interval",
        "report",
        "spot_checks",
        "dry_run",
        "valid_batch_size",
        "test_file",
        "retain_limit",
    ),
}


def _refuse_changed(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    differing = [key for key in new if key not in MAY_CHANGE and old.get(key) != new[key]]
    if differing:
        changes = ", ".join(f"{key} ({old.get(key)!r} then, {new[key]!r} now)" for key in differing)
        raise CheckpointError(
            f"{path} was written with other options: {changes}. Go on with the old ones, or start "
            "anew under another name or with --overwrite."
        )
