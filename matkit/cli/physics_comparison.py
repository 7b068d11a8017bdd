"""``matkit evaluate physics`` with several models."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import model_info
from matkit.cli.display import Display
from matkit.evaluate.physics.comparison.report import (
    PhysicsComparison,
    comparison_document,
    comparison_lines,
    comparison_page,
    physics_comparison,
)
from matkit.evaluate.physics.comparison.run import compare_physics
from matkit.evaluate.physics.comparison.tables import as_csv
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.options import dump_config
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.versions import versions

FILES = {
    "metrics": "comparison.json",
    "table": "comparison.csv",
    "report": "comparison.html",
    "config": "comparison.yaml",
}


def run_comparison(
    calcs: Mapping[str, BaseCalculator],
    crystals: list[Atoms],
    options: PhysicsOptions,
    display: Display,
) -> int:
    """Compute the numbers of all models, or what is left of them, and place them side by side.

    Args:
        calcs: Calculators by name of the model, the reference first.
        crystals: Crystals to look at.
        options: Of the command.
        display: Where messages go.

    Returns:
        Exit code: 0, since nothing is judged.
    """
    begin = time.perf_counter()
    entries = compare_physics(calcs, crystals, options, display.note)
    comparison = physics_comparison(entries)
    metrics = plain(
        {
            "command": "evaluate physics",
            "models": {name: model_info(calc) for name, calc in calcs.items()},
            "options": options.model_dump(),
            "versions": versions(),
            **comparison_document(comparison),
            "wall_time": time.perf_counter() - begin,
        }
    )
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    try:
        _write(files, comparison, metrics, options)
    finally:  # what was found is said even if the disk takes no more
        display.result(comparison_lines(comparison))
        display.note(f"{metrics['wall_time']:.1f} s; files: {', '.join(map(str, files.values()))}")
        display.document(metrics)
    return 0


def _write(
    files: Mapping[str, Path],
    comparison: PhysicsComparison,
    metrics: Mapping[str, Any],
    options: PhysicsOptions,
) -> None:
    write_atomically(files["config"], dump_config(options).encode())
    write_atomically(files["metrics"], json_bytes(metrics))
    write_atomically(files["table"], as_csv(comparison.entries, comparison.reference).encode())
    write_atomically(files["report"], comparison_page(comparison, metrics).encode())
