"""``matkit train`` and ``matkit finetune``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matkit.cli.configs import TrainFlags
from matkit.cli.display import Display
from matkit.cli.progress import metered
from matkit.cli.yaml_files import read_config
from matkit.evaluate.tables import NOTE, cells, overview, remarks, verdicts
from matkit.report.tables import as_text
from matkit.train.api import finetune, learns_properties, train
from matkit.train.generator_options import GeneratorOptions
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.options import FinetuneOptions, TrainerOptions, TrainOptions, as_table
from matkit.train.property_options import PropertyOptions
from matkit.train.session import Listener, TrainingResult

OK, STOPPED, FAILED = 0, 1, 1
Row = dict[str, float]

# Columns of the log that are shown, with their unit and the factor from eV and Å.
SHOWN = {
    "energy_mae": ("E", "meV/atom", 1000.0),
    "forces_mae": ("F", "meV/Å", 1000.0),
    "stress_mae": ("S", "meV/Å³", 1000.0),
    "hessian_mae": ("H", "eV/Å²", 1.0),
    "hamiltonian_mae": ("F", "µEh", 1.0),
    **{term: (term, "", 1.0) for term in ("lattice", "coordinates", "positions")},
    **{term: (term, "", 1.0) for term in ("species", "charges", "bonds")},
}


def training_options(config: str | None, given: Mapping[str, Any]) -> type[TrainerOptions]:
    """Return what is to be trained: the task says it, or the model's name.

    Args:
        config: File of options, if there is one.
        given: Flags that were given; they win over the file.

    Raises:
        ConfigError: the file cannot be read.
    """
    from matkit.train.generator_network import is_generator
    from matkit.train.hamiltonians import predicts_hamiltonians

    said = read_config(TrainFlags, Path(config)) if config is not None else {}
    if learns_properties({**said, **given}):
        return PropertyOptions
    model = as_table({**said, **given}.get("model"))
    if is_generator(model):
        return GeneratorOptions
    return HamiltonianOptions if predicts_hamiltonians(model) else TrainOptions


def run_training(options: TrainerOptions, display: Display) -> int:
    """Train or fine-tune; the exit code is 0 if it came to its end and has not failed."""
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:  # the first of several processes speaks
        display = Display(quiet=True)
    begin = time.perf_counter()
    with _listener(display, options) as listener:
        outcome = _start(options, listener)
    if not options.dry_run:
        display.note(f"{time.perf_counter() - begin:.0f} s; files in {outcome.folder}")
    if outcome.reason:
        display.note(f"Ended early: {outcome.reason}.")
    if not outcome.finished:
        display.note("The allowed time is up; go on with --restart auto.")
    errors = (outcome.metrics or {}).get("errors", {})
    if lines := overview(errors):
        said = (*verdicts(errors), *remarks(errors))
        display.result("\n".join((as_text(cells(lines)), NOTE, *said)))
    if outcome.failure:
        display.error(f"The training failed: {outcome.failure}.")
    display.document(_document(outcome))
    if outcome.failure:
        return FAILED
    return OK if outcome.finished else STOPPED


def _start(options: TrainerOptions, listener: Listener) -> TrainingResult:
    if isinstance(options, FinetuneOptions):
        return finetune(options, listener=listener)
    assert isinstance(
        options, TrainOptions | GeneratorOptions | HamiltonianOptions | PropertyOptions
    )
    return train(options, listener=listener)


def _document(outcome: TrainingResult) -> dict[str, object]:
    return {
        "folder": str(outcome.folder),
        "model": str(outcome.model) if outcome.model else None,
        "finished": outcome.finished,
        "reason": outcome.reason,
        "failure": outcome.failure or None,
        "last": outcome.history[-1] if outcome.history else None,
        "errors": (outcome.metrics or {}).get("errors"),
    }


@contextmanager
def _listener(display: Display, options: TrainerOptions) -> Iterator[Listener]:
    """Give a listener that shows the remaining time, and the errors after every epoch."""
    epochs = options.max_num_epochs
    with metered(display, "training") as meter:

        def step(epoch: int, batch: int, count: int) -> None:
            words = f"epoch {epoch + 1}/{epochs}, batch {batch}/{count}"
            meter.show(epoch + batch / count, epochs, words)

        def end_of_epoch(row: Row, best: bool) -> None:
            with meter.paused():
                display.result(_line(row, epochs, best))

        yield Listener(display.note, step, end_of_epoch)


def _line(row: Row, epochs: int, best: bool) -> str:
    parts = [f"epoch {row['epoch']:.0f}/{epochs}", f"loss {row['train_loss']:.4g}"]
    parts.append(f"validation {row['valid_loss']:.4g}")
    for key, (symbol, unit, factor) in SHOWN.items():
        if f"valid_{key}" in row:
            parts.append(f"{symbol} {factor * row[f'valid_{key}']:.3g} {unit}".rstrip())
    prefix = "valid_mae_"
    parts += [f"{key.removeprefix(prefix)} {row[key]:.3g}" for key in row if prefix in key]
    if "retained_forces_mae" in row:
        parts.append(f"retained F {1000 * row['retained_forces_mae']:.3g} meV/Å")
    return ", ".join(parts) + (" *" if best else "")
