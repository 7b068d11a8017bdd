"""``matkit evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from matkit.cli.display import Display
from matkit.cli.progress import metered
from matkit.evaluate.api import UNREADABLE, EvaluationListener, compare_files, write_evaluation
from matkit.evaluate.calibration import NOTE as CALIBRATION_NOTE
from matkit.evaluate.calibration import Calibration, calibration_cells
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.tables import NOTE, cells, equivariance_sentence, lines_of
from matkit.report.tables import as_text
from matkit.runs.locking import alone

OK, PROBLEMS = 0, 1


def run_evaluation(options: EvaluateOptions, display: Display) -> int:
    """Compare a model with labelled structures and write what was found.

    Returns:
        Exit code: 1 if a prediction is not a number, or some structures could not be read.

    Raises:
        ConfigError: no model or file, or a prefix that is taken.
        OutputExistsError: there are results already.
        DataError, UnknownElementError: the structures cannot be compared.
    """
    listener = EvaluationListener(display.note, display.few, partial(_counting, display))
    if options.hamiltonian:
        return _run_hamiltonians(options, display, listener)
    with alone(options.out):
        result = compare_files(options, listener)
        try:
            write_evaluation(result, options)
        finally:  # what was found is said even if the disk takes no more
            is_committee = result.evaluation.deviation is not None
            calibration = result.calibration if is_committee else None
            _show(display, result.metrics, result.files, calibration)
    problems = result.evaluation.not_finite or UNREADABLE in result.metrics["left_out"]
    return PROBLEMS if problems else OK


def _run_hamiltonians(
    options: EvaluateOptions, display: Display, listener: EvaluationListener
) -> int:
    from matkit.evaluate.hamiltonian_files import error_cells, evaluate_hamiltonians, sentences

    found, document = evaluate_hamiltonians(options, listener)
    display.result("\n".join([as_text(error_cells(found)), *sentences(found)]))
    display.note(f"{document['wall_time']:.1f} s; files: {', '.join(document['outputs'])}")
    display.document(document)
    return OK


def _show(
    display: Display,
    metrics: dict[str, Any],
    files: Mapping[str, Path],
    calibration: Mapping[str, Calibration] | None,
) -> None:
    display.result(as_text(cells(lines_of(metrics["groups"]))))
    display.result(NOTE)
    if calibration is not None:
        display.result(as_text(calibration_cells(calibration)))
        display.result(CALIBRATION_NOTE)
    if "equivariance" in metrics:
        display.result(equivariance_sentence(metrics["equivariance"]))
    if metrics["not_finite"]:
        display.error(f"The prediction is not a number for {', '.join(metrics['not_finite'])}.")
    outputs = [str(path) for path in files.values()]
    display.note(f"{metrics['wall_time']:.1f} s; files: {', '.join(outputs)}")
    display.document(metrics | {"outputs": outputs})


@contextmanager
def _counting(display: Display) -> Iterator[Callable[[int, int], None]]:
    """Give a callback that shows how many structures are done."""
    with metered(display, "structures") as meter:
        yield lambda done, total: meter.show(done, total, f"{done} of {total}")
