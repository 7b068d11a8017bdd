"""``matkit evaluate crystals``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matkit.calculator_info import model_info
from matkit.cli.display import Display
from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.pages import crystals_page
from matkit.crystals.reading import Crystal, read_crystals
from matkit.crystals.results import CrystalEvaluation, Energetics, Judged
from matkit.crystals.scores import GATES
from matkit.crystals.stability import read_hull
from matkit.crystals.writing import (
    counts_of,
    match_cells,
    match_documents,
    structures_csv,
)
from matkit.errors import ConfigError
from matkit.evaluate.scores import score_documents, score_lines
from matkit.generate.folder import refuse_both
from matkit.models.zoo import load_calculator
from matkit.options import dump_config
from matkit.report.json_files import json_bytes, plain
from matkit.report.tables import as_text
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import package_version, versions

OK, NOTHING_USABLE = 0, 1
FILES = {
    "structures": "structures.csv",
    "metrics": "metrics.json",
    "report": "report.html",
    "config": "config.yaml",
}
# Packages whose versions influence scores.
PACKAGES = ("pymatgen-core", "spglib", "scipy")
# Reasons that are printed; all are in the metrics.
MOST_REASONS = 5


def run_crystals(options: CrystalsOptions, display: Display) -> int:
    """Judge generated crystals and write what was found.

    Returns:
        Exit code: 1 if there is no crystal among the entries.

    Raises:
        ConfigError: no folder or file is named, or one with crystals before and after relaxation.
        OutputExistsError: there are results already.
        DataError: a path is missing, or the crystals do not pair with the reference.
    """
    if not options.struct:
        raise ConfigError(
            "Expected a folder, archive or file of generated crystals, got none: "
            "matkit evaluate crystals FOLDER"
        )
    with alone(options.out):
        return _judge(options, display)


def _judge(options: CrystalsOptions, display: Display) -> int:
    begin = time.perf_counter()
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    if not options.overwrite:
        refuse_existing(files.values())
    for path in options.struct:
        refuse_both(Path(path))
    sets = _read(options, display)
    energetics, model = _energetics(options)
    evaluation = evaluate_crystals(sets, options, energetics, display.note)
    metrics = {
        "command": "evaluate crystals",
        "model": model,
        "versions": versions() | {name: str(package_version(name)) for name in PACKAGES},
        "options": options.model_dump(),
        "counts": _counts(evaluation),
        "scores": score_documents(evaluation.scores),
        "matches": match_documents(evaluation.matches),
        "wall_time": time.perf_counter() - begin,
    }
    metrics = plain(metrics)
    try:
        _write(files, options, evaluation, metrics)
    finally:  # what was found is said even if the disk takes no more
        _show(display, evaluation, metrics, files)
    return OK if evaluation.generated.usable else NOTHING_USABLE


def _write(
    files: Mapping[str, Path],
    options: CrystalsOptions,
    evaluation: CrystalEvaluation,
    metrics: dict[str, Any],
) -> None:
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(metrics))
    write_atomically(files["structures"], structures_csv(evaluation).encode())
    write_atomically(files["report"], crystals_page(evaluation, metrics).encode())


def _read(options: CrystalsOptions, display: Display) -> dict[str, list[Crystal]]:
    paths = {
        "generated": options.struct,
        "reference": options.reference,
        "known": options.known,
    }
    sets = {name: read_crystals(given, options.format) for name, given in paths.items() if given}
    for name, crystals in sets.items():
        bad = [crystal for crystal in crystals if crystal.structure is None]
        display.note(
            f"{name}: {len(crystals)} entries, {len(crystals) - len(bad)} loaded, {len(bad)} not"
        )
        for crystal in bad[:MOST_REASONS]:
            display.note(f"  {crystal.source}: {crystal.reason}")
        if len(bad) > MOST_REASONS:
            display.note(f"  and {len(bad) - MOST_REASONS} more")
    return sets


def _energetics(options: CrystalsOptions) -> tuple[Energetics | None, dict[str, Any] | None]:
    if options.model is None:
        return None, None
    calc = load_calculator(
        options.model,
        device=options.device,
        dispersion=options.dispersion,
        dispersion_functional=options.dispersion_functional,
    )
    hull = read_hull(options.hull, calc) if options.hull else None
    return Energetics(calc, options.model, hull), model_info(calc)


def _counts(evaluation: CrystalEvaluation) -> dict[str, Any]:
    sets: dict[str, Judged | None] = {
        "generated": evaluation.generated,
        "reference": evaluation.reference,
    }
    return {name: counts_of(judged) for name, judged in sets.items() if judged is not None}


def _show(
    display: Display,
    evaluation: CrystalEvaluation,
    metrics: dict[str, Any],
    files: Mapping[str, Path],
) -> None:
    for line in score_lines(evaluation.scores):
        display.result(line)
    if evaluation.matches:
        display.result(as_text(match_cells(evaluation.matches)))
        for gate, meaning in GATES.items():
            display.result(f"{gate}: {meaning}")
    display.document(metrics)
    display.note(f"Wrote {', '.join(str(path) for path in files.values())}")
