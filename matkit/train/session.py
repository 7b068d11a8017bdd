"""What every training does around its loop: processes, folder, settings, model file and log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit.errors import ConfigError, MissingExtraError, OutputExistsError
from matkit.train.logs import CONFIG, FACTS, LOG, Log, write_settings
from matkit.train.memory import keep_freed_memory
from matkit.train.options import TrainerOptions
from matkit.train.progress import CHECKPOINT, Row

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from matkit.train.loop import Trainer

MODEL = "model.safetensors"

# What an overwritten run must not leave beside the new one.
LEFT_BEHIND = (
    *(CHECKPOINT, MODEL, LOG, CONFIG, FACTS),
    *("report.html", "metrics.json", "events.out.tfevents.*"),
)


@dataclass(frozen=True)
class Listener:
    """Whom a training tells what it does; by default nobody.

    Attributes:
        note: Called with a sentence.
        step: Called after every step with epoch, batches done, and batches of the epoch.
        epoch: Called after every validation with its row of the log and whether it is the best.
    """

    note: Callable[[str], None] = lambda text: None
    step: Callable[[int, int, int], None] = lambda epoch, batch, count: None
    epoch: Callable[[Row, bool], None] = lambda row, best: None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What training left.

    Attributes:
        folder: Folder of all files.
        model: File of the best model, None if no epoch was completed.
        finished: False if the allowed time was up before the last epoch.
        reason: Why it ended before the last epoch, if it did.
        history: Rows of the log.
        metrics: Content of the report, if one was asked for.
    """

    folder: Path
    model: Path | None = None
    finished: bool = True
    reason: str = ""
    history: list[Row] = field(default_factory=list)
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True)
class Session:
    """Where a training runs.

    Attributes:
        fabric: Its processes and devices.
        folder: Folder of its files.
        listener: Whom it tells; nobody but in the first process.
    """

    fabric: Fabric
    folder: Path
    listener: Listener

    @property
    def model(self) -> Path:
        """File of the best model."""
        return self.folder / MODEL


def open_session(options: TrainerOptions, listener: Listener | None) -> Session:
    """Start the processes and claim the folder.

    Raises:
        MissingExtraError: lightning is not installed.
        ConfigError: there is no such device.
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
    """
    fabric = _launch(options)
    folder = Path(options.work_dir) / options.name
    if not options.dry_run:
        _claim(folder, options, fabric)
    keep_freed_memory()
    heard = listener if listener is not None and fabric.is_global_zero else Listener()
    return Session(fabric, folder, heard)


def carry_out(
    session: Session, trainer: Trainer, facts: Mapping[str, Any], keep: Callable[[Row], None]
) -> Outcome:
    """Train, or only estimate the cost if that is what the options say.

    Args:
        session: Where.
        trainer: The training.
        facts: What was found out about the data, for the log.
        keep: Writes the model file; called with the row of the log of each best model.
    """
    options = trainer.options
    if options.dry_run:
        from matkit.train.estimate import estimate

        session.listener.note(str(estimate(trainer)))
        return Outcome(folder=session.folder)
    if session.fabric.is_global_zero:
        settings = options.model_dump(exclude={"overwrite", "restart", "dry_run"})
        write_settings(session.folder, settings, facts)
    progress = trainer.fit(session.folder, _hooks(session, trainer, keep))
    return Outcome(
        folder=session.folder,
        model=session.model if session.model.exists() else None,
        finished=progress.finished,
        reason=progress.reason,
        history=progress.history,
    )


def _launch(options: TrainerOptions) -> Fabric:
    try:
        from lightning.fabric import Fabric
    except ImportError as error:
        raise MissingExtraError(
            "Training needs lightning, which is not installed: pip install 'matkit[train]'"
        ) from error
    accelerator = options.device
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    strategy = "ddp" if options.devices > 1 else "auto"
    try:
        fabric = Fabric(accelerator=accelerator, devices=options.devices, strategy=strategy)
    # Lightning has an exception of its own for each way in which a device may be missing.
    except Exception as error:
        raise ConfigError(
            f"Cannot train on {options.devices} device(s) of the kind {options.device!r}: {error} "
            "Use cpu or auto, and see `matkit doctor`."
        ) from error
    fabric.launch()
    if not fabric.is_global_zero:
        logging.getLogger("matkit").setLevel(logging.ERROR)
    if accelerator == "cpu" and options.devices > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.devices))
    return fabric


def _claim(folder: Path, options: TrainerOptions, fabric: Fabric) -> None:
    """Refuse to mix two runs in one folder."""
    there = fabric.broadcast((folder / CONFIG).exists())
    if there and not options.goes_on and not options.overwrite:
        raise OutputExistsError(
            f"There is a run in {folder} already. Go on with it: --restart auto. Or choose another "
            "--name, or --overwrite it."
        )
    if there and options.overwrite and not options.goes_on and fabric.is_global_zero:
        for pattern in LEFT_BEHIND:
            for path in folder.glob(pattern):
                path.unlink()
    fabric.barrier()


def _hooks(session: Session, trainer: Trainer, keep: Callable[[Row], None]) -> Any:
    from matkit.train.loop import Hooks

    log = Log(session.folder)

    def on_epoch(row: Row, best: bool) -> None:
        if not session.fabric.is_global_zero:
            return
        if best:
            keep(row)
        log.write(trainer.progress.history)
        session.listener.epoch(row, best)

    return Hooks(session.listener.step, on_epoch)
