"""Files of a campaign: names, settings, and what the lines of a ledger say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matkit.errors import ConfigError, OutputExistsError
from matkit.runs.atomic import write_atomically
from matkit.runs.items import WHOLE, Shard
from matkit.runs.settings import changed_settings

Row = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """Names of the files of one part of a campaign.

    Attributes:
        folder: Where they are.
        stem: Beginning of their names.
        shard: Which part.
    """

    folder: Path
    stem: str
    shard: Shard = WHOLE

    def path(self, ending: str) -> Path:
        """Return the file with an ending."""
        return self.folder / f"{self.stem}{self.shard.suffix}{ending}"

    @property
    def frames(self) -> Path:
        """Structures, extended XYZ."""
        return self.path(".extxyz")

    @property
    def ledger(self) -> Path:
        """What became of every item, a JSON document in each line."""
        return self.path(".jsonl")

    @property
    def matrices(self) -> Path:
        """Matrices of the frames one after another, each row by row, all of one type."""
        return self.path(".matrices")

    @property
    def settings(self) -> Path:
        """How the results were made."""
        return self.path(".json")

    @property
    def sorted_frames(self) -> Path:
        """Structures in order, before they take the place of the others."""
        return self.path(".part")

    @property
    def sorted_ledger(self) -> Path:
        """Ledger of the structures in order; if it is there, these are complete."""
        return self.path(".sorted.jsonl")

    @property
    def all(self) -> tuple[Path, ...]:
        """Everything that there may be."""
        main = self.frames, self.ledger, self.matrices, self.settings
        return (*main, self.sorted_frames, self.sorted_ledger)


def begin(files: Files, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Write the settings, or compare with those that are there.

    Args:
        files: Where.
        settings: What results depend on.
        defaults: Values of options, for those that an older version did not write.

    Raises:
        ConfigError: the results that are there were made with other settings.
        OutputExistsError: nothing says how they were made.
    """
    if files.settings.exists():
        _compare(files.settings, settings, defaults)
        return
    if files.frames.exists():
        raise OutputExistsError(
            f"Expected to write a new file, but there already is {files.frames}, and no "
            f"{files.settings.name} that says how it was made. Choose another folder, or allow to "
            "overwrite."
        )
    files.ledger.unlink(missing_ok=True)
    write_settings(files, {"settings": dict(settings)})


def write_settings(files: Files, document: Mapping[str, Any]) -> None:
    """Write how the results were made."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(files.settings, text.encode())


def _compare(path: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} does not say how the results beside it were made ({error!r}). Put it back, "
            "choose another folder, or start anew with overwrite."
        ) from error
    new = json.loads(json.dumps(settings))
    if changed := changed_settings(old, new, defaults=defaults):
        raise ConfigError(
            f"Cannot go on with {path.parent}: it was begun with other settings: {changed}. Use "
            "the same ones, another folder, or start anew with overwrite."
        )


def read_rows(files: Files) -> Iterator[Row]:
    """Give the good lines of a ledger.

    The first line that is torn, or speaks of results that did not reach the disk, ends them.
    """
    if not files.ledger.exists():
        return
    frames, matrices = (_size(path) for path in (files.frames, files.matrices))
    with files.ledger.open("rb") as stream:
        for line in stream:
            row = _parse(line)
            if row is None or row["end"] > frames or row["matrices_end"] > matrices:
                return
            yield row


def last_rows(files: Files) -> dict[int, Row]:
    """Return the last good line on each item, by its index."""
    return {row["index"]: row for row in read_rows(files)}


def line_of(row: Row) -> bytes:
    """Return the line of a ledger."""
    return (json.dumps(row, allow_nan=False) + "\n").encode()


def _parse(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "matrices_end" in row else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
