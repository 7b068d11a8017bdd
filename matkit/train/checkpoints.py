"""The checkpoint of a training: how far it has come, with all weights and optimisers."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from matkit.errors import CheckpointError
from matkit.runs.atomic import write_atomically
from matkit.runs.settings import changed_settings
from matkit.train.objective import Average
from matkit.train.options import TrainerOptions
from matkit.train.progress import TrainingProgress, extend

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes.

    Attributes:
        objective: Loss with the network in it.
        average: With the copy that is validated and becomes the result.
        optimizers: Optimisers of the trainable parameters.
        options: Options of the training, which must stay the same.
    """

    objective: nn.Module
    average: Average[Any]
    optimizers: Sequence[Optimizer]
    options: TrainerOptions


def save_state(folder: Path, state: TrainingState, progress: TrainingProgress) -> None:
    """Write the checkpoint."""
    content = {
        "progress": dataclasses.asdict(progress),
        "objective": state.objective.state_dict(),
        "average": state.average.model.state_dict(),
        "exact": state.average.exact,
        "optimizers": [optimizer.state_dict() for optimizer in state.optimizers],
        "options": state.options.model_dump(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(folder / CHECKPOINT, buffer.getvalue())


def load_state(folder: Path, state: TrainingState) -> tuple[TrainingProgress, str]:
    """Put everything back where the checkpoint says.

    Returns:
        How far the training had come, none without a checkpoint, and what is to be said of it.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to other options, or the run is beyond
            the last epoch that is asked for.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return TrainingProgress(), ""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state.objective.load_state_dict(content["objective"])
        state.average.restore(content["average"], content.get("exact", {}))
        for optimizer, values in zip(state.optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(values)
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged or belongs to another model ({error}). Start anew with --overwrite."
        ) from error
    _refuse_changed(path, content["options"], state.options)
    progress = TrainingProgress(**content["progress"])
    return progress, extend(progress, content["options"]["max_num_epochs"], state.options)


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


def _refuse_changed(path: Path, old: dict[str, Any], options: TrainerOptions) -> None:
    new = options.model_dump()
    # Options that are no more have no say.
    free = {*MAY_CHANGE, *(old.keys() - new.keys())}
    if changed := changed_settings(old, new, free, options.defaults()):
        raise CheckpointError(
            f"{path} was written with other options: {changed}. Go on with the old ones, or start "
            "anew under another name or with --overwrite."
        )
