"""Evaluation of a network of Kohn-Sham matrices: from folders of labels to files of errors."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from matkit.errors import ConfigError
from matkit.evaluate.api import EvaluationListener
from matkit.evaluate.hamiltonians import QUANTITIES, HamiltonianEvaluation, compare_hamiltonians
from matkit.evaluate.options import EvaluateOptions
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.label.hamiltonian_set import one_level, read_hamiltonians
from matkit.options import dump_config
from matkit.report.json_files import json_bytes, plain
from matkit.report.tables import number
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import package_version, versions

FILES = {"metrics": "metrics.json", "table": "errors.csv", "config": "config.yaml"}
UNITS = {"dipole": "eÅ", "forces": "eV/Å"}
PACKAGES = ("pyscf", "tblite")
HEADINGS = ["", "unit", "values", "MAE", "RMSE"]


def evaluate_hamiltonians(
    options: EvaluateOptions, listener: EvaluationListener
) -> tuple[HamiltonianEvaluation, dict[str, Any]]:
    """Compare a network with folders of labels, and write what was found.

    Returns:
        The errors, and the content of ``metrics.json`` with the paths of the `outputs`.

    Raises:
        ConfigError: no model or folder is named, or their methods differ.
        OutputExistsError: there are results already.
        CheckpointError, DataError, MissingExtraError, UnknownElementError, SimulationError: see
            `matkit.evaluate.hamiltonians.compare_hamiltonians` and `HamiltonianCalculator`.
    """
    begin = time.perf_counter()
    if options.model is None or not options.struct:
        raise ConfigError(
            "Expected a model and folders of labels: matkit evaluate MODEL LABELS... --hamiltonian"
        )
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    with alone(options.out):
        if not options.overwrite:
            refuse_existing(files.values())
        calculator = HamiltonianCalculator(options.model)
        labelled = read_hamiltonians(options.struct)
        level = one_level([calculator.method, labelled.level])
        count = len(labelled.dataset)
        # Others than density functionals have no energy of a density.
        computed = spread(count, options.scf_molecules if calculator.basis else 0)
        listener.note(f"{options.model}, {count} molecules of {level}; results in {options.out}")
        with listener.counting() as on_molecule:
            found = compare_hamiltonians(calculator, labelled, computed, on_molecule)
        metrics = {
            "command": "evaluate",
            "model": options.model,
            "level": level,
            "versions": versions() | {name: package_version(name) for name in PACKAGES},
            "options": options.model_dump(),
            "molecules": found.molecules,
            "units": {name: UNITS.get(name, "eV") for name in found.errors},
            "errors": {name: asdict(errors) for name, errors in found.errors.items()},
            "orbital_similarity": found.similarity,
            "scf": _scf(found, [labelled.dataset.sources[i] for i in computed]),
            "wall_time": time.perf_counter() - begin,
        }
        metrics = plain(metrics)
        write_atomically(files["config"], dump_config(options).encode())
        write_atomically(files["metrics"], json_bytes(metrics))
        write_atomically(files["table"], _as_csv(found).encode())
    return found, metrics | {"outputs": [str(path) for path in files.values()]}


def spread(count: int, number: int) -> list[int]:
    """Return at most `number` of `count` places, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(count, number)).round().astype(int).tolist()))


def error_cells(found: HamiltonianEvaluation) -> list[list[str]]:
    """Return the table of errors for the terminal."""
    rows = ([*row[:2], str(row[2]), *map(number, row[3:])] for row in _rows(found))
    return [HEADINGS, *rows]


def sentences(found: HamiltonianEvaluation) -> list[str]:
    """Return what is no error, in words."""
    said = [
        f"Occupied orbitals, mean |cos| of predicted and true coefficients: "
        f"{100 * found.similarity:.4f} %"
    ]
    if (cycles := found.cycles) is not None:
        said.append(
            f"Self-consistent cycles of {cycles.molecules} molecules, mean: {cycles.guess:.2f} "
            f"from the predicted density, {cycles.minao:.2f} from minao ({cycles.ratio:.2f} times)"
        )
    return said


def _rows(found: HamiltonianEvaluation) -> Iterator[list[Any]]:
    for name, errors in found.errors.items():
        heading, unit, factor = QUANTITIES[name]
        yield [heading, unit, errors.count, factor * errors.mae, factor * errors.rmse]


def _as_csv(found: HamiltonianEvaluation) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["quantity", "unit", "values", "mae", "rmse"])
    writer.writerows(_rows(found))
    return buffer.getvalue()


def _scf(found: HamiltonianEvaluation, sources: list[str]) -> dict[str, Any] | None:
    if found.cycles is None:
        return None
    return {**asdict(found.cycles), "ratio": found.cycles.ratio, "sources": sources}
