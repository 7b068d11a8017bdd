"""``matkit evaluate crystals``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matkit.cache import write_atomically
from matkit.cli.display import Display
from matkit.cli.yaml_files import dump_config
from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.pages import render
from matkit.crystals.reading import Crystal, read_crystals
from matkit.crystals.results import Energetics, Evaluation, Judged
from matkit.crystals.scores import GATES
from matkit.crystals.stability import read_hull
from matkit.crystals.writing import (
    counts_of,
    match_cells,
    match_documents,
    score_cells,
    score_documents,
    structures_csv,
)
from matkit.errors import ConfigError
from matkit.evaluate.documents import json_bytes, plain
from matkit.evaluate.tables import as_text
from matkit.simulate.files import refuse_existing
from matkit.simulate.summary import model_info, package_version, versions
from matkit.zoo import load_calculator

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
        ConfigError: no folder or file is named.
        OutputExistsError: there are results already.
        DataError: a path is missing, or the crystals do not pair with the reference.
    """
    begin = time.perf_counter()
    if not options.struct:
        raise ConfigError(
            "Expected a folder, archive or file of generated crystals, got none: "
            "matkit evaluate crystals FOLDER"
        )
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    if not options.overwrite:
        refuse_existing(files.values())
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
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(metrics))
    write_atomically(files["structures"], structures_csv(evaluation).encode())
    write_atomically(files["report"], render(evaluation, metrics).encode())
    _show(display, evaluation, metrics, files)
    return OK if evaluation.generated.usable else NOTHING_USABLE


def _read(options: CrystalsOptions, display: Display) -> dict[str, list[Crystal]]:
    paths = {
        "generated": options.struct,
        "reference": options.reference,
        "known": options.known,
    }
    sets = {name: read_crystals(given) for name, given in paths.items() if given}
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
    calc = load_calculator(options.model, device=options.device)
    hull = None if options.hull is None else read_hull(options.hull)
    return Energetics(calc, options.model, hull), model_info(calc)


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    sets: dict[str, Judged | None] = {
        "generated": evaluation.generated,
        "reference": evaluation.reference,
    }
    return {name: counts_of(judged) for name, judged in sets.items() if judged is not None}


def _show(
    display: Display,
    evaluation: Evaluation,
    metrics: dict[str, Any],
    files: Mapping[str, Path],
) -> None:
    rows = score_cells(evaluation.scores)
    aligned = as_text([row[:-1] for row in rows]).splitlines()
    for line, row in zip(aligned, rows, strict=True):
        display.result(f"{line}  {row[-1]}")
    if evaluation.matches:
        display.result(as_text(match_cells(evaluation.matches)))
        for gate, meaning in GATES.items():
            display.result(f"{gate}: {meaning}")
    display.document(metrics)
    display.note(f"Wrote {', '.join(str(path) for path in files.values())}")
