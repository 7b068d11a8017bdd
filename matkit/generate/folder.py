"""The folder of generated structures: tables, scores, archive and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matkit.errors import ConfigError
from matkit.generate.batch import Batch
from matkit.generate.domains import DomainRoom
from matkit.generate.options import GENERATED, RELAXED, GenerateOptions
from matkit.generate.results import as_csv, counts, generated_page
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.items import parse_shard
from matkit.runs.versions import versions

ENDINGS = {
    "config": ("config", "yaml"),
    "metrics": ("metrics", "json"),
    "structures": ("structures", "csv"),
    "report": ("report", "html"),
}


def paths_of(options: GenerateOptions, noun: str) -> dict[str, Path]:
    """Return the files of results beside the structures themselves.

    Args:
        options: How they were made.
        noun: What one of them is called.
    """
    suffix, folder = parse_shard(options.shard).suffix, Path(options.out)
    endings = {**ENDINGS, "archive": (f"{noun}s", "zip")}
    return {kind: folder / f"{stem}{suffix}.{end}" for kind, (stem, end) in endings.items()}


def drawn_files(path: Path) -> list[Path]:
    """Return the files of structures of a folder that was generated, as they were drawn.

    Args:
        path: Folder; what was not generated is returned itself.

    Raises:
        ConfigError: it holds the same structures relaxed, too.
    """
    refuse_both(path)
    return sorted(path.glob(f"{GENERATED}*.extxyz")) or [path]


def refuse_both(folder: Path) -> None:
    """Refuse a folder that holds the same structures before and after relaxation.

    Raises:
        ConfigError: it does; they would repeat each other.
    """
    files = [sorted(folder.glob(f"{stem}*.extxyz")) for stem in (GENERATED, RELAXED)]
    if all(files):
        raise ConfigError(
            f"{folder} holds its structures as generated and relaxed, which would repeat each "
            f"other. Name the files of one kind: {' '.join(map(str, files[0]))}, or "
            f"{' '.join(map(str, files[1]))}"
        )


def write_results(
    batch: Batch,
    room: DomainRoom,
    options: GenerateOptions,
    card: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Write all but the configuration into the folder of the structures; return the metrics.

    Args:
        batch: Structures.
        room: What is known of their domain.
        options: How they were made.
        card: What is known of the generator.
        seconds: How long everything took.
    """
    metrics: dict[str, Any] = plain(
        {
            "command": f"generate {batch.noun}",
            "model": card,
            "options": options.model_dump(),
            "counts": counts(batch),
            "scores": room.scores(batch),
            "versions": versions(),
            "wall_time": seconds,
        }
    )
    paths = paths_of(options, batch.noun)
    write_atomically(paths["metrics"], json_bytes(metrics))
    write_atomically(paths["structures"], as_csv(room.rows(batch)).encode())
    write_atomically(paths["archive"], room.archive(batch, options.dedupe))
    page = generated_page(batch, metrics, room.sections(batch), _names(batch, options, paths))
    write_atomically(paths["report"], page.encode())
    return metrics


def _names(batch: Batch, options: GenerateOptions, paths: Mapping[str, Path]) -> list[str]:
    """Return the files that the report leads to."""
    suffix = parse_shard(options.shard).suffix
    there = {GENERATED: bool(batch.generated), RELAXED: bool(batch.relaxed)}
    stems = [stem for stem, is_there in there.items() if is_there]
    tables = (paths[kind].name for kind in ("archive", "structures", "metrics"))
    return [*(f"{stem}{suffix}.extxyz" for stem in stems), *tables]
