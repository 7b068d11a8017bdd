"""The folder of generated crystals: tables, scores, archive and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matkit.generate.options import CrystalOptions
from matkit.generate.results import archive, as_csv, counts, render, scores, structure_rows
from matkit.generate.run import Batch
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.items import parse_shard
from matkit.runs.versions import versions

ENDINGS = {
    "config": ("config", "yaml"),
    "metrics": ("metrics", "json"),
    "structures": ("structures", "csv"),
    "archive": ("crystals", "zip"),
    "report": ("report", "html"),
}


def paths_of(options: CrystalOptions) -> dict[str, Path]:
    """Return the files of results beside the crystals themselves."""
    suffix, folder = parse_shard(options.shard).suffix, Path(options.out)
    return {kind: folder / f"{stem}{suffix}.{end}" for kind, (stem, end) in ENDINGS.items()}


def write_results(
    batch: Batch, options: CrystalOptions, card: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Write all but the configuration into the folder of the crystals; return the metrics.

    Args:
        batch: Crystals.
        options: How they were made.
        card: What is known of the generator.
        seconds: How long everything took.
    """
    metrics: dict[str, Any] = plain(
        {
            "command": "generate crystal",
            "model": card,
            "options": options.model_dump(),
            "counts": counts(batch),
            "scores": scores(batch),
            "versions": versions(),
            "wall_time": seconds,
        }
    )
    paths = paths_of(options)
    write_atomically(paths["metrics"], json_bytes(metrics))
    write_atomically(paths["structures"], as_csv(structure_rows(batch)).encode())
    write_atomically(paths["archive"], archive(batch, options.dedupe))
    write_atomically(paths["report"], render(batch, metrics).encode())
    return metrics
