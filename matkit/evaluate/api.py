"""Evaluation of a potential: from files to errors, and to files again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import model_info
from matkit.data.cached import is_folder
from matkit.data.dataset import Dataset, ignored_in, read_usable
from matkit.derivatives import ForceField
from matkit.errors import ConfigError
from matkit.evaluate.calibration import (
    Calibration,
    calibration_csv,
    calibration_figure,
    calibrations,
)
from matkit.evaluate.comparison import Evaluation, check_comparable
from matkit.evaluate.comparison import evaluate as compare_with_labels
from matkit.evaluate.documents import UNITS, document
from matkit.evaluate.elements import known_part, refuse_unknown
from matkit.evaluate.errors import Errors
from matkit.evaluate.label_judgement import refuse_wrong_labels
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.parity import parity_figure
from matkit.evaluate.tables import as_csv
from matkit.evaluate.writing import check_prefix, labelled_frames, read_frames, write_predictions
from matkit.models.zoo import load_calculator
from matkit.options import dump_config, resolve
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions
from matkit.symmetrize.errors import equivariance_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

UNREADABLE = "cannot be read"
FILES = {
    "predictions": "predictions.extxyz",
    "metrics": "metrics.json",
    "table": "errors.csv",
    "parity": "parity.png",
    "config": "config.yaml",
}
COMMITTEE_FILES = {"calibration": "calibration.csv", "calibration_figure": "calibration.png"}
# Structures that are turned to see whether predictions turn too; their mean says enough.
MOST_TURNED = 200
OnBatch = Callable[[int, int], None]


@contextmanager
def _silent() -> Iterator[OnBatch]:
    yield lambda done, total: None


@dataclass(frozen=True)
class EvaluationListener:
    """Whom an evaluation tells what it does; by default nobody.

    Attributes:
        note: Called with a sentence.
        few: Called with sentences of one kind, of which some are enough.
        counting: Gives what is called with the number of structures done and in all.
    """

    note: Callable[[str], None] = lambda text: None
    few: Callable[[Sequence[str]], None] = lambda texts: None
    counting: Callable[[], AbstractContextManager[OnBatch]] = _silent


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        evaluation: Predictions and their errors.
        dataset: The structures that were compared.
        metrics: Everything but arrays, fit for JSON.
        files: Path of every kind of result.
        frames: Gives the structures to write beside their predictions.
        calibration: Of a committee by quantity, in eV per atom, eV/Å and eV/Å³.
    """

    evaluation: Evaluation
    dataset: Dataset
    metrics: dict[str, Any]
    files: Mapping[str, Path]
    frames: Callable[[], Iterable[Atoms]]
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

    @property
    def errors(self) -> Mapping[str, Errors]:
        """Errors of all structures by quantity, in eV per atom, eV/Å, eV/Å³ and eV/Å²."""
        return self.evaluation.total


def evaluate(
    options: EvaluateOptions | None = None,
    *,
    listener: EvaluationListener | None = None,
    **changes: Any,
) -> EvaluationResult:
    """Compare a potential with labels, e.g. ``evaluate(model="mine.safetensors", struct="a.xyz")``.

    Of a committee the mean is compared, and its deviations with the errors.

    Args:
        options: See `EvaluateOptions`.
        listener: Whom the evaluation tells what it does.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, no model or file is named, or a prefix is
            taken.
        OutputExistsError: there are results already.
        DataError, UnknownElementError: the structures cannot be compared.
    """
    options = resolve(EvaluateOptions, options, changes)
    with alone(options.out):
        result = compare_files(options, listener or EvaluationListener())
        write_evaluation(result, options)
    return result


def compare_files(options: EvaluateOptions, listener: EvaluationListener) -> EvaluationResult:
    """Return what `evaluate` does without writing it; errors as there."""
    begin = time.perf_counter()
    files = _files(options)
    calc = _calculator(options)
    members = [one for one in calc.potentials if isinstance(one, ForceField)]
    if len(members) == 1:
        files = {kind: path for kind, path in files.items() if kind not in COMMITTEE_FILES}
    info = model_info(calc)
    where = f"{info['dtype']} on {info['device']}; results in {options.out}"
    listener.note(f"{options.model}, {where}")
    everything, unread = read_usable(options.struct, options.label_keys(), options.format)
    listener.few(unread)
    dataset, left_out = _choose(everything, options, members, listener)
    if unread:
        left_out = {UNREADABLE: len(unread)} | left_out
        listener.note(f"Left out: {len(unread)} structures ({UNREADABLE})")
    is_converted = any(
        remark.check in ("units", "format") for remark in everything.label_report.remarks
    )
    frames = _frames(options, dataset, is_converted)
    check_prefix(frames(), options.prefix)
    with listener.counting() as on_batch:
        evaluation = compare_with_labels(members, dataset, on_batch)
    metrics = {
        "command": "evaluate",
        "model": info,
        "versions": versions(),
        "options": options.model_dump(),
        "ignored": ignored_in(dataset, _conditions(members), True),
        "labels": str(dataset.label_report),
        "left_out": left_out,
        "units": UNITS,
        **document(evaluation, dataset.sources),
    }
    found = calibrations(evaluation, dataset)
    if evaluation.deviation is not None:
        metrics["calibration"] = {key: asdict(value) for key, value in found.items()}
    if options.equivariance:
        metrics["equivariance"] = _equivariance(members, dataset, listener)
    metrics["wall_time"] = time.perf_counter() - begin
    return EvaluationResult(evaluation, dataset, plain(metrics), files, frames, found)


def write_evaluation(result: EvaluationResult, options: EvaluateOptions) -> None:
    """Write all files of an evaluation."""
    files, metrics, dataset = result.files, result.metrics, result.dataset
    title = f"{options.model}, {len(dataset)} structures"
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(metrics))
    write_atomically(files["table"], as_csv(metrics["groups"]).encode())
    write_atomically(files["parity"], png(parity_figure(result.evaluation, dataset, title)))
    for kind in COMMITTEE_FILES.keys() - files.keys():  # of a committee before
        (Path(options.out) / COMMITTEE_FILES[kind]).unlink(missing_ok=True)
    if "calibration" in files:
        figure = calibration_figure(result.calibration, title)
        write_atomically(files["calibration"], calibration_csv(result.calibration).encode())
        write_atomically(files["calibration_figure"], png(figure))
    write_predictions(files["predictions"], result.frames(), result.evaluation, options.prefix)


def _calculator(options: EvaluateOptions) -> MatkitCalculator:
    if options.hamiltonian:
        raise ConfigError(
            "Matrices are compared by matkit.evaluate.hamiltonian_files.evaluate_hamiltonians."
        )
    if options.model is None:
        raise ConfigError("Expected a model, got none. Name it: matkit evaluate MODEL FILES...")
    if not options.struct:
        raise ConfigError(
            f"Expected files with labelled structures to compare {options.model} with, got none: "
            "matkit evaluate MODEL FILES..."
        )
    return load_calculator(
        options.model,
        options.device,
        options.dtype,
        any_level=options.any_level,
        dispersion=options.dispersion,
        dispersion_functional=options.dispersion_functional,
        symmetrize=options.symmetrize,
    )


def _equivariance(
    members: Sequence[ForceField], dataset: Dataset, listener: EvaluationListener
) -> dict[str, Any]:
    """Return how far predictions for some structures, chosen at random, turn with them."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    chosen = dataset.structures.index(sorted(order[:MOST_TURNED].tolist()))
    listener.note(f"Turning {len(chosen)} structures")
    with listener.counting() as on_batch:
        return asdict(equivariance_errors(members, chosen, on_batch=on_batch))


def _conditions(members: Sequence[ForceField]) -> frozenset[str]:
    """Return what all members take into account."""
    return frozenset.intersection(*(member.conditions for member in members))


def _common(species: Iterable[Iterable[int]]) -> list[int]:
    return sorted(set.intersection(*map(set, species)))


def _files(options: EvaluateOptions) -> dict[str, Path]:
    files = {kind: Path(options.out) / name for kind, name in (FILES | COMMITTEE_FILES).items()}
    if not options.overwrite:
        refuse_existing(files.values())
    return files


def _choose(
    everything: Dataset,
    options: EvaluateOptions,
    members: Sequence[ForceField],
    listener: EvaluationListener,
) -> tuple[Dataset, dict[str, int]]:
    """Return the structures to compare, and how many are left out for which reason."""
    listener.note(f"Found {everything.label_report}")
    dataset = everything.without_isolated()
    check_comparable(dataset)
    for problem in refuse_wrong_labels(everything, "test", options.allow_problems):
        listener.note(problem)
    if options.skip_unknown:
        known = known_part(_common(member.usable_species for member in members), dataset)
    else:
        refuse_unknown(_common(member.species for member in members), known := dataset)
    left_out = {
        "isolated atoms": len(everything) - len(dataset),
        "unknown elements": len(dataset) - len(known),
    }
    left_out = {reason: count for reason, count in left_out.items() if count}
    for reason, count in left_out.items():
        listener.note(f"Left out: {count} structures ({reason})")
    check_comparable(known)
    listener.few(ignored_in(known, _conditions(members), options.ignore_charge))
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
