"""Evaluation of molecules from files: options by name, or an object of options."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matkit.errors import ConfigError
from matkit.evaluate.scores import score_documents
from matkit.generate.domains import Note
from matkit.generate.folder import drawn_files
from matkit.generate.results import as_csv
from matkit.generate.run import Watch
from matkit.molecules.evaluation import MoleculeEvaluation
from matkit.molecules.geometries import read_geometries, read_known
from matkit.molecules.judging import DrawnMolecule
from matkit.molecules.options import MoleculeScoreOptions
from matkit.molecules.pages import molecules_page
from matkit.molecules.scoring import MoleculeSets, evaluate_molecules
from matkit.molecules.stages import Workplace
from matkit.molecules.tables import molecule_row
from matkit.options import dump_config, resolve
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import package_version, versions

FILES = {
    "structures": "structures.csv",
    "metrics": "metrics.json",
    "report": "report.html",
    "config": "config.yaml",
}
# Packages whose versions influence scores.
PACKAGES = ("rdkit", "posebusters", "fcd", "tblite")


@dataclass(frozen=True)
class MoleculeReport:
    """What was found and written.

    Attributes:
        evaluation: Molecules and scores.
        metrics: Counts and scores, as they were written.
        files: By what they are.
    """

    evaluation: MoleculeEvaluation
    metrics: dict[str, Any]
    files: dict[str, Path]


def evaluate_files(
    options: MoleculeScoreOptions | None = None,
    *,
    watch: Watch = lambda stage: nullcontext(),
    note: Note = lambda text: None,
    **changes: Any,
) -> MoleculeReport:
    """Judge the molecules of files, e.g. ``evaluate_files(struct="a.sdf", reference="b.sdf")``.

    Args:
        options: See `MoleculeScoreOptions`.
        watch: Shows the progress of a stage, which it is told the name of.
        note: Told what is being done.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, no file is named, or one with molecules
            before and after relaxation.
        OutputExistsError: there are results already.
        DataError: a path is missing, or holds no molecules.
        MissingExtraError, UnknownNameError, CheckpointError: what is asked for cannot be had.
        SimulationError: workers cannot be had, or none lives.
    """
    options = resolve(MoleculeScoreOptions, options, changes)
    if not options.struct:
        raise ConfigError(
            "Expected files of generated molecules, got none: matkit evaluate molecules FILE"
        )
    paths = [path for given in options.struct for path in drawn_files(Path(given))]
    with alone(options.out):
        return _evaluated(options, paths, watch, note)


def _evaluated(
    options: MoleculeScoreOptions, paths: Sequence[Path], watch: Watch, note: Note
) -> MoleculeReport:
    begin, out = time.perf_counter(), Path(options.out)
    files = {kind: out / name for kind, name in FILES.items()}
    if not options.overwrite:
        refuse_existing(files.values())
    sets = _sets(options, paths)
    place = Workplace(out, options.workers, options.executor, options.overwrite, watch)
    evaluation = evaluate_molecules(sets, options, place, note)
    metrics: dict[str, Any] = plain(
        {
            "command": "evaluate molecules",
            "versions": versions() | {name: package_version(name) for name in PACKAGES},
            "options": options.model_dump(),
            "counts": _counts(sets, evaluation),
            "scores": score_documents(evaluation.scores),
            "wall_time": time.perf_counter() - begin,
        }
    )
    _write(MoleculeReport(evaluation, metrics, files), sets.generated, options)
    return MoleculeReport(evaluation, metrics, files)


def _sets(options: MoleculeScoreOptions, paths: Sequence[Path]) -> MoleculeSets:
    known = options.known or options.reference
    return MoleculeSets(
        list(read_geometries(paths, options.format)),
        list(read_geometries(options.reference, options.format)),
        read_known(known) if known else None,
    )


def _counts(sets: MoleculeSets, evaluation: MoleculeEvaluation) -> dict[str, Any]:
    read = sum(one.atoms is not None for one in sets.generated)
    return {
        "entries": len(sets.generated),
        "not_read": len(sets.generated) - read,
        "with_bonds": sum(one.own is not None for one in evaluation.molecules),
        "reference": len(sets.reference),
        "reference_judged": len(evaluation.reference),
        "known": None if sets.known is None else len(sets.known),
    }


def _write(
    report: MoleculeReport, drawn: Sequence[DrawnMolecule], options: MoleculeScoreOptions
) -> None:
    rows = [
        {"source": one.source, **molecule_row(one.atoms, report.evaluation, i)}
        for i, one in enumerate(drawn)
    ]
    files, names = report.files, [FILES[kind] for kind in ("structures", "metrics", "config")]
    page = molecules_page(report.evaluation, drawn, report.metrics, names)
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(report.metrics))
    write_atomically(files["structures"], as_csv(rows).encode())
    write_atomically(files["report"], page.encode())
