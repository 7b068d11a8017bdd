"""What both builders do with their items: files, processes, and what is said of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matkit.builders.options import BuilderOptions
from matkit.errors import ConfigError
from matkit.runs.executors import open_executor
from matkit.runs.items import Item
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows, write_settings
from matkit.runs.schedule import OnProgress, Plan, carry_out
from matkit.runs.spreading import Work
from matkit.runs.versions import versions

# What may be changed when a builder goes on.
FREE = {"struct", "out", "workers", "retry_failed", "overwrite", "count"}


@dataclass(frozen=True)
class Built:
    """What was made.

    Attributes:
        files: Where it is.
        frames: Number of structures.
        failed: Items without any.
        rejected: Items that were not to be used.
        pathless: Molecules from which no way to others was found, where ways are looked for.
        reasons: Source and reason of those that failed.
    """

    files: Files
    frames: int
    failed: int
    rejected: int
    pathless: int
    reasons: tuple[tuple[str, str], ...]


def build(
    stem: str,
    items: Callable[[], Iterator[Item]],
    work: Work,
    options: BuilderOptions,
    on_progress: OnProgress | None,
) -> Built:
    """Make structures from items, or go on with it.

    Args:
        stem: Beginning of the names of the files.
        items: Gives all items.
        work: Makes structures of some of them.
        options: How.
        on_progress: Called after every item.

    Raises:
        ConfigError: no folder is named, or what is there was made otherwise.
    """
    if options.out is None:
        raise ConfigError("Expected where to write, got nothing. Name a folder: --out OUT")
    begin = time.perf_counter()
    files = Files(Path(options.out), stem)
    settings = options.model_dump(exclude=FREE)
    how = options.overwrite, options.retry_failed, options.defaults()
    with (
        Ledger(files, settings, *how) as ledger,
        open_executor("local", options.workers) as executor,
    ):
        plan = Plan(_one, 0, executor, 4 * options.workers)
        carry_out(items, work, ledger, plan, on_progress)
    built = _summary(files)
    write_settings(files, _document(settings, built, time.perf_counter() - begin))
    return built


def _one(_item: Item) -> int:
    return 1


def _summary(files: Files) -> Built:
    rows = last_rows(files).values()
    reasons = [(row["source"], row["reason"]) for row in rows if row["status"] == "failed"]
    return Built(
        files,
        frames=sum(row["frames"] for row in rows),
        failed=len(reasons),
        rejected=sum(row["status"] == "rejected" for row in rows),
        pathless=sum(row.get("paths") == 0 for row in rows),
        reasons=tuple(reasons),
    )


def _document(settings: dict[str, Any], built: Built, wall_time: float) -> dict[str, Any]:
    counts = {"frames": built.frames, "failed": built.failed, "rejected": built.rejected}
    return {
        "settings": settings,
        "versions": versions(),
        "counts": counts,
        "wall_time": wall_time,
    }
