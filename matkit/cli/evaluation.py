"""``matkit evaluate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import model_info
from matkit.cli.display import INTERVAL, Display
from matkit.cli.yaml_files import dump_config
from matkit.data.cached import is_folder
from matkit.data.dataset import Dataset, ignored_in, read_usable
from matkit.derivatives import ForceField
from matkit.errors import ConfigError
from matkit.evaluate.comparison import Evaluation, check_comparable, evaluate
from matkit.evaluate.documents import UNITS, document
from matkit.evaluate.elements import known_part, refuse_unknown
from matkit.evaluate.label_judgement import refuse_wrong_labels
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.parity import parity_figure
from matkit.evaluate.tables import NOTE, as_csv, cells, lines_of
from matkit.evaluate.writing import check_prefix, labelled_frames, read_frames, write_predictions
from matkit.models.zoo import load_calculator
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.report.tables import as_text
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions

if TYPE_CHECKING:
    from ase import Atoms

OK, PROBLEMS = 0, 1
UNREADABLE = "cannot be read"
FILES = {
    "predictions": "predictions.extxyz",
    "metrics": "metrics.json",
    "table": "errors.csv",
    "parity": "parity.png",
    "config": "config.yaml",
}


def run_evaluation(options: EvaluateOptions, display: Display) -> int:
    """Compare a model with labelled structures and write what was found.

    Returns:
        Exit code: 1 if a prediction is not a number, or some structures could not be read.

    Raises:
        ConfigError: no model or file, several models, or a prefix that is taken.
        OutputExistsError: there are results already.
        DataError, UnknownElementError: the structures cannot be compared.
    """
    with alone(options.out):
        return _evaluate(options, display)


def _evaluate(options: EvaluateOptions, display: Display) -> int:
    begin = time.perf_counter()
    files = _files(options)
    calc = load_calculator(
        _model(options), options.device, options.dtype, any_level=options.any_level
    )
    info = model_info(calc)
    display.note(f"Model {options.model}; {info['dtype']} on {info['device']}")
    everything, unread = read_usable(options.struct, options.label_keys(), options.format)
    display.few(unread)
    dataset, left_out = _choose(everything, options, _potential(calc), display)
    if unread:
        left_out = {UNREADABLE: len(unread)} | left_out
        display.note(f"Left out: {len(unread)} structures ({UNREADABLE})")
    is_converted = any(remark.check in ("units", "format") for remark in everything.found.remarks)
    frames = _frames(options, dataset, is_converted)
    check_prefix(frames(), options.prefix)
    with _counting(display) as on_batch:
        evaluation = evaluate(_potential(calc), dataset, on_batch)
    metrics = {
        "command": "evaluate",
        "model": info,
        "versions": versions(),
        "options": options.model_dump(),
        "ignored": ignored_in(dataset, _potential(calc).conditions, True),
        "labels": str(dataset.found),
        "left_out": left_out,
        "units": UNITS,
        **document(evaluation, dataset.sources),
        "wall_time": time.perf_counter() - begin,
    }
    metrics = plain(metrics)
    try:
        _write(files, options, metrics, evaluation, dataset)
        write_predictions(files["predictions"], frames(), evaluation, options.prefix)
    finally:  # what was found is said even if the disk takes no more
        _show(display, metrics, files)
    return PROBLEMS if evaluation.not_finite or UNREADABLE in left_out else OK


def _model(options: EvaluateOptions) -> str:
    if options.model is None:
        raise ConfigError("Expected a model, got none. Name it: matkit evaluate MODEL FILES...")
    if not options.struct:
        raise ConfigError(
            f"Expected files with labelled structures to compare {options.model} with, got none: "
            "matkit evaluate MODEL FILES..."
        )
    return options.model


def _potential(calc: MatkitCalculator) -> ForceField:
    """Return the one potential of a calculator."""
    if len(calc.potentials) > 1:
        raise ConfigError(
            f"Expected one model, got {len(calc.potentials)}: {calc.info['model']}. Evaluate them "
            "one after another."
        )
    potential = calc.potentials[0]
    assert isinstance(potential, ForceField)
    return potential


def _files(options: EvaluateOptions) -> dict[str, Path]:
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    if not options.overwrite:
        refuse_existing(files.values())
    return files


def _choose(
    everything: Dataset, options: EvaluateOptions, model: ForceField, display: Display
) -> tuple[Dataset, dict[str, int]]:
    """Return the structures to compare, and how many are left out for which reason."""
    display.note(f"Found {everything.found}")
    dataset = everything.without_isolated()
    check_comparable(dataset)
    for problem in refuse_wrong_labels(everything, "test", options.allow_problems):
        display.note(problem)
    if options.skip_unknown:
        known = known_part(model.usable_species, dataset)
    else:
        refuse_unknown(model.species, known := dataset)
    left_out = {
        "isolated atoms": len(everything) - len(dataset),
        "unknown elements": len(dataset) - len(known),
    }
    left_out = {reason: count for reason, count in left_out.items() if count}
    for reason, count in left_out.items():
        display.note(f"Left out: {count} structures ({reason})")
    check_comparable(known)
    display.few(ignored_in(known, model.conditions, options.ignore_charge))
    return known, left_out


def _frames(
    options: EvaluateOptions, dataset: Dataset, is_converted: bool
) -> Callable[[], Iterable[Atoms]]:
    """Return what gives the structures to write: as they are in the files.

    A folder has no files, and what was converted is not what stands in the files.
    """
    if is_folder(options.struct[0]) or is_converted:
        return lambda: labelled_frames(dataset)
    frames = read_frames(options.struct, dataset, options.format)
    return lambda: frames


def _write(
    files: dict[str, Path],
    options: EvaluateOptions,
    metrics: dict[str, Any],
    evaluation: Evaluation,
    dataset: Dataset,
) -> None:
    title = f"{options.model}, {len(dataset)} structures"
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(metrics))
    write_atomically(files["table"], as_csv(metrics["groups"]).encode())
    write_atomically(files["parity"], png(parity_figure(evaluation, dataset, title)))


def _show(display: Display, metrics: dict[str, Any], files: dict[str, Path]) -> None:
    display.result(as_text(cells(lines_of(metrics["groups"]))))
    display.result(NOTE)
    if metrics["not_finite"]:
        display.error(f"The prediction is not a number for {', '.join(metrics['not_finite'])}.")
    outputs = [str(path) for path in files.values()]
    display.note(f"{metrics['wall_time']:.1f} s; files: {', '.join(outputs)}")
    display.document(metrics | {"outputs": outputs})


@contextmanager
def _counting(display: Display) -> Iterator[Callable[[int, int], None]]:
    """Give a callback that shows how many structures are done."""
    if not display.interactive:
        yield _lines(display)
        return
    columns = (TextColumn("structures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=display.console, transient=True) as bar:
        task = bar.add_task("structures", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(display: Display) -> Callable[[int, int], None]:
    begin = last = time.perf_counter()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= INTERVAL:
            last, left = now, (now - begin) * (total - done) / done
            display.note(f"{done} of {total} structures, {left:.0f} s left")

    return show
