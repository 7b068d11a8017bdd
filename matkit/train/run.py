"""Train a potential: from files to a model file, a log and a report in one folder."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit import checkpoint
from matkit.data.dataset import Dataset
from matkit.derivatives import Conservative
from matkit.errors import ConfigError, MissingExtraError, OutputExistsError
from matkit.graph import Graph
from matkit.interfaces import Potential
from matkit.structures import Structures, cat
from matkit.train.batching import Batches, GraphSet, loader, weighted
from matkit.train.logs import CONFIG, FACTS, LOG, Log, write_settings
from matkit.train.memory import keep_freed_memory
from matkit.train.network import new_network
from matkit.train.objective import Average, LowRank, Objective
from matkit.train.optimizers import optimizers
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.progress import CHECKPOINT, Row
from matkit.train.sets import Sets, read_sets

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch.utils.data import DataLoader

    from matkit.train.loop import Batched, Trainer

MODEL = "model.safetensors"

# What an overwritten run must not leave beside the new one.
LEFT_BEHIND = (
    *(CHECKPOINT, MODEL, LOG, CONFIG, FACTS),
    *("report.html", "metrics.json", "events.out.tfevents.*"),
)
AnyOptions = TrainOptions | FinetuneOptions


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


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        network: Network to train.
        sets: Labelled structures.
        facts: What was found out about the data, for the log.
        low_rank: Changes to train instead of the network's own parameters.
        replay: Structures with labels to be retained, added to the training set.
        retained: Structures on which forgetting is measured.
        base: The model before fine-tuning.
    """

    network: Potential
    sets: Sets
    facts: dict[str, Any]
    low_rank: LowRank | None = None
    replay: Dataset | None = None
    retained: Dataset | None = None
    base: Conservative | None = None


@dataclass(frozen=True)
class Outcome:
    """What training left.

    Attributes:
        folder: Folder of all files.
        model: File of the best model, None if no epoch was completed.
        finished: False if the allowed time was up before the last epoch.
        reason: Why it ended before the last epoch, if it did.
        history: Rows of the log.
        start: What it started from.
        metrics: Content of the report, if one was asked for; see `matkit.evaluate.report`.
    """

    folder: Path
    model: Path | None
    finished: bool
    reason: str
    history: list[Row] = field(default_factory=list)
    start: Start | None = None
    metrics: dict[str, Any] | None = None


def train(options: TrainOptions, listener: Listener | None = None) -> Outcome:
    """Train a new potential.

    Raises:
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, TrainingError, CheckpointError: see `matkit.train`.
    """
    return run(options, listener or Listener(), lambda sets: _from_scratch(options, sets))


def run(options: AnyOptions, listener: Listener, begin: Callable[[Sets], Start]) -> Outcome:
    """Train what `begin` makes of the sets."""
    fabric = _launch(options)
    listener = listener if fabric.is_global_zero else Listener()
    folder = Path(options.work_dir) / options.name
    if not options.dry_run:
        _claim(folder, options, fabric)
    keep_freed_memory()
    sets = read_sets(options)
    for note in sets.notes:
        listener.note(note)
    start = begin(sets)
    trainer = _trainer(fabric, options, start)
    if options.dry_run:
        from matkit.train.estimate import estimate

        listener.note(str(estimate(trainer)))
        return Outcome(folder, None, True, "", [], start)
    if fabric.is_global_zero:
        settings = options.model_dump(exclude={"overwrite", "restart", "dry_run"})
        write_settings(folder, settings, start.facts)
    progress = trainer.fit(folder, _hooks(folder, trainer, start, listener))
    model = folder / MODEL
    outcome = Outcome(
        folder,
        model if model.exists() else None,
        progress.finished,
        progress.reason,
        progress.history,
        start,
    )
    if not (options.report and outcome.model and fabric.is_global_zero):
        return outcome
    from matkit.train.reporting import report

    return replace(outcome, metrics=report(outcome, options, fabric.device, listener.note))


def _from_scratch(options: TrainOptions, sets: Sets) -> Start:
    network, facts = new_network(options, sets)
    return Start(network, sets, facts)


def _launch(options: AnyOptions) -> Fabric:
    """Start the processes."""
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


def _claim(folder: Path, options: AnyOptions, fabric: Fabric) -> None:
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


def _trainer(fabric: Fabric, options: AnyOptions, start: Start) -> Trainer:
    from matkit.train.loop import Trainer

    device = fabric.device
    model = Conservative(start.network).to(device)
    low_rank = start.low_rank.to(device) if start.low_rank is not None else None
    average = Average(copy.deepcopy(model), options.ema_decay if options.ema else 0.0)
    objective = Objective(model.train(), options, low_rank)
    return Trainer(
        fabric,
        objective,
        average,
        _batched(fabric, options, start),
        optimizers(objective.parameters(), options),
        options,
    )


def _batched(fabric: Fabric, options: AnyOptions, start: Start) -> Batched:
    from matkit.train.loop import Batched

    processes = (fabric.global_rank, fabric.world_size)
    graphs = GraphSet(start.network, _to_learn(options, start))
    order = Batches(graphs.n_edges, options.batch_size, options.max_edges, options.seed, processes)

    def in_order(dataset: Dataset) -> DataLoader[Graph]:
        part = GraphSet(start.network, weighted(dataset, {}))
        batches = Batches(part.n_edges, options.valid_batch_size, processes=processes)
        return loader(part, batches)

    return Batched(
        train=loader(graphs, order, options.num_workers),
        order=order,
        valid=in_order(start.sets.valid),
        retained=in_order(start.retained) if start.retained is not None else None,
        sources=(*start.sets.train.sources, *(start.replay.sources if start.replay else ())),
    )


def _to_learn(options: AnyOptions, start: Start) -> Structures:
    """Return the training set, with what is replayed behind it."""
    train = weighted(start.sets.train, options.config_type_weights)
    if start.replay is None or not isinstance(options, FinetuneOptions):
        return train
    replay = weighted(start.replay, {}, options.replay_weight, len(train))
    common = train.system.keys() & replay.system.keys()
    parts = [
        part.replace(system={key: part.system[key] for key in sorted(common)})
        for part in (train, replay)
    ]
    return cat(parts)


def _hooks(folder: Path, trainer: Trainer, start: Start, listener: Listener) -> Any:
    from matkit.train.loop import Hooks

    log = Log(folder)

    def on_epoch(row: Row, best: bool) -> None:
        if not trainer.fabric.is_global_zero:
            return
        if best:
            network = trainer.average.model.network
            network.recipe = start.network.recipe
            checkpoint.save(network, folder / MODEL, _card(trainer.options, row, start))
        log.write(trainer.progress.history)
        listener.epoch(row, best)

    return Hooks(listener.step, on_epoch)


def _card(options: AnyOptions, row: Row, start: Start) -> dict[str, Any]:
    """Return what a user of the model file should know."""
    errors = {key.removeprefix("valid_"): value for key, value in row.items() if "valid_" in key}
    base = {}
    if isinstance(options, FinetuneOptions):
        base = {"fine_tuned_from": options.foundation_model}
    return {
        "training_data": ", ".join(options.train_file),
        "structures": len(start.sets.train),
        "epoch": int(row["epoch"]),
        "validation_errors": errors,
        "labels": f"errors in eV per atom, eV/Å, eV/Å³; loss {options.loss}",
        **base,
    }
