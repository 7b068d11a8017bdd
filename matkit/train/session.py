"""What every training does around its loop: processes, folder, settings, model file and log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit.denormals import without_denormals
from matkit.errors import ConfigError, MissingExtraError, OutputExistsError
from matkit.runs.locking import alone
from matkit.runs.replacing import OldResults
from matkit.train.checkpoints import CHECKPOINT
from matkit.train.logs import CONFIG, FACTS, LOG, Log, write_settings
from matkit.train.memory import keep_freed_memory
from matkit.train.options import TrainerOptions
from matkit.train.progress import Row

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from matkit.train.loop import Trainer

MODEL = "model.safetensors"

NOTHING_BETTER = (
    "No epoch was better on the validation set than the start: the model that is kept is the one "
    "before training (of a potential, with its reference energies moved if they were to be)."
)

# What belongs to one run: when another takes its place, none of it may stay.
OWN = (
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
class TrainingResult:
    """What training left.

    Attributes:
        folder: Folder of all files.
        model: File of the best model, the start included once training has ended; None if no epoch
            was completed.
        finished: False if the allowed time was up before the last epoch.
        reason: Why it ended before the last epoch, if it did.
        failure: Why it failed, if its end is far worse than its start.
        history: Rows of the log.
        metrics: Content of the report, if one was asked for.
    """

    folder: Path
    model: Path | None = None
    finished: bool = True
    reason: str = ""
    failure: str = ""
    history: list[Row] = field(default_factory=list)
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True)
class Session:
    """Where a training runs.

    Attributes:
        fabric: Its processes and devices.
        folder: Folder of its files.
        listener: Whom it tells; nobody but in the first process.
        old: What takes care of an older run that is to be replaced; None where nothing is written.
    """

    fabric: Fabric
    folder: Path
    listener: Listener
    old: OldResults | None = None

    @property
    def model(self) -> Path:
        """File of the best model."""
        return self.folder / MODEL


@contextmanager
def open_session(options: TrainerOptions, listener: Listener | None) -> Iterator[Session]:
    """Start the processes and keep other runs out of the folder.

    Raises:
        MissingExtraError: lightning is not installed.
        ConfigError: there is no such device, or another run is writing to the folder.
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
    """
    fabric = _launch(options)
    folder = Path(options.work_dir) / options.name
    keep_freed_memory()
    heard = listener if listener is not None and fabric.is_global_zero else Listener()
    with ExitStack() as stack:
        old = None
        if fabric.is_global_zero and not options.dry_run:
            stack.enter_context(alone(folder))
            old = OldResults(folder)
            _settle(folder, old, options)
        fabric.barrier()
        stack.enter_context(without_denormals())
        if not options.dry_run:
            _refuse_existing(folder, options, fabric)
        yield Session(fabric, folder, heard, old)


def carry_out(
    session: Session, trainer: Trainer, facts: Mapping[str, Any], keep: Callable[[Row], None]
) -> TrainingResult:
    """Train, or only estimate the cost if that is what the options say.

    Everything that can be checked has been when this begins: an older run in the folder, if it is
    to be replaced, is set aside, and comes back if training ends before there is a model.

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
        return TrainingResult(folder=session.folder)
    with _replacing(session, options):
        if session.fabric.is_global_zero:
            settings = options.model_dump(exclude={"overwrite", "restart", "dry_run"})
            write_settings(session.folder, settings, facts)
        session.fabric.barrier()
        progress = trainer.fit(session.folder, _hooks(session, trainer, keep))
    return TrainingResult(
        folder=session.folder,
        model=session.model if session.model.exists() else None,
        finished=progress.finished,
        reason=progress.reason,
        failure=progress.failure,
        history=progress.history,
    )


@contextmanager
def _replacing(session: Session, options: TrainerOptions) -> Iterator[None]:
    """Set an older run aside, and bring it back if the new one ends without model or checkpoint."""
    if session.old is not None and options.overwrite and not options.goes_on:
        session.old.set_aside(_files(session.folder))
    session.fabric.barrier()
    try:
        yield
    except BaseException:
        if session.old is not None and not has_run(session.folder):
            session.old.restore(_files(session.folder))
        raise


def has_run(folder: Path) -> bool:
    """Return whether a folder holds a run: a model, or a checkpoint to go on from."""
    return any((folder / name).exists() for name in (MODEL, CHECKPOINT))


def _files(folder: Path) -> list[Path]:
    return [path for pattern in OWN for path in folder.glob(pattern)]


def _settle(folder: Path, old: OldResults, options: TrainerOptions) -> None:
    """Finish what a run that was killed while it replaced another one has left."""
    if (folder / MODEL).exists():
        old.discard()
    elif not (options.goes_on and has_run(folder)):
        old.restore(_files(folder))


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


def _refuse_existing(folder: Path, options: TrainerOptions, fabric: Fabric) -> None:
    """Refuse to mix two runs in one folder; one that left neither model nor checkpoint is none."""
    there = fabric.broadcast(has_run(folder))
    if there and not options.goes_on and not options.overwrite:
        raise OutputExistsError(
            f"There is a run in {folder} already. Go on with it: --restart auto. Or choose another "
            "--name, or --overwrite it."
        )


def _hooks(session: Session, trainer: Trainer, keep: Callable[[Row], None]) -> Any:
    from matkit.train.loop import Hooks

    log = Log(session.folder)

    def on_epoch(row: Row, best: bool) -> None:
        if not session.fabric.is_global_zero:
            return
        if best:
            keep(row)
            if session.old is not None:
                session.old.discard()
        log.write(trainer.progress.history)
        session.listener.epoch(row, best)

    def on_start(errors: Row) -> None:
        if not session.fabric.is_global_zero:
            return
        keep({"epoch": 0, **{f"valid_{key}": value for key, value in errors.items()}})
        if session.old is not None:
            session.old.discard()
        if trainer.options.max_num_epochs:
            session.listener.note(NOTHING_BETTER)

    return Hooks(session.listener.step, on_epoch, on_start, session.listener.note)
