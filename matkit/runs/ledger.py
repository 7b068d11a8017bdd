"""Results on disk that survive the end of the process at any moment.

Structures and their matrices are appended to their files first, then a line of the ledger says that
they are there. Whatever stands behind the last good line when a run goes on is cut off.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Self, get_args

from ase.io.extxyz import write_extxyz

from matkit.errors import DataError
from matkit.runs.atomic import write_atomically
from matkit.runs.items import Item, ItemResult, Status, fingerprint
from matkit.runs.ledger_files import Files, Row, begin, line_of, read_rows
from matkit.runs.locking import Lock
from matkit.runs.replacing import OldResults


class Ledger:
    """Results of a campaign, those of runs before included.

    Args:
        files: Where they are.
        settings: What results depend on; must be what it was when the campaign began.
        overwrite: Whether to begin anew. What is there stays until there is a result.
        retry: Whether items that failed are done again.
        defaults: Those of options among the settings: what a campaign of a version without an
            option was made with.

    Raises:
        ConfigError: the campaign was begun with other settings, or is running elsewhere.
        OutputExistsError: there are results without their ledger.
    """

    def __init__(
        self,
        files: Files,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        retry: bool = False,
        defaults: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.files, self._retry = files, retry
        self._lock = Lock(files.folder / f".{files.path('.lock').name}")
        try:
            self._old = OldResults(files.folder, files.path("").name)
            self._settle()
            if overwrite:
                self._old.set_aside(files.all)
            self._begin(settings, defaults)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        try:
            begin(self.files, settings, defaults)
            self._load()
        except BaseException:
            self._old.restore(self.files.all)
            raise

    def _settle(self) -> None:
        """Finish what a run that was killed while it replaced another one has left."""
        _finish_sorting(self.files)
        if self._old.there and all(row["status"] != "done" for row in read_rows(self.files)):
            self._old.restore(self.files.all)
        self._old.discard()

    def _load(self) -> None:
        """Take over what is on the disk, and cut off what no line of the ledger knows of."""
        _finish_sorting(self.files)
        self._known: dict[int, tuple[str, str]] = {}
        self._last, self._in_order = -1, True
        keep = {self.files.frames: 0, self.files.matrices: 0, self.files.ledger: 0}
        for row in read_rows(self.files):
            self._remember(row)
            keep[self.files.frames], keep[self.files.matrices] = row["end"], row["matrices_end"]
            keep[self.files.ledger] += len(line_of(row))
        if self._retry:
            self._known = {i: known for i, known in self._known.items() if known[1] != "failed"}
        self._counts = Counter(status for _, status in self._known.values())
        self._streams = {path.suffix: _open(path, length) for path, length in keep.items()}

    def _remember(self, row: Row) -> None:
        self._in_order &= row["index"] > self._last
        self._last = row["index"]
        self._known[row["index"]] = row["fingerprint"], row["status"]

    @property
    def counts(self) -> dict[str, int]:
        """How many items are done, rejected and failed."""
        return {status: self._counts[status] for status in get_args(Status)}

    def is_known(self, item: Item) -> bool:
        """Whether nothing is left to be done for an item.

        Raises:
            DataError: another item had its number when the campaign began.
        """
        known = self._known.get(item.index)
        if known is not None and known[0] != fingerprint(item):
            raise DataError(
                f"Expected in {item.source} what was item {item.index} of {self.files.frames} when "
                "it was begun, got something else. Give the same input, choose another folder, or "
                "start anew with overwrite."
            )
        return known is not None

    def commit(self, outcomes: Iterable[ItemResult]) -> None:
        """Append results; when this returns, the end of the process does not lose them."""
        rows = [self._append(outcome) for outcome in outcomes]
        for ending in (".extxyz", ".matrices"):
            self._streams[ending].flush()
        for row in rows:
            self._streams[".jsonl"].write(line_of(row))
            self._remember(row)
        self._streams[".jsonl"].flush()
        if any(row["status"] == "done" for row in rows):
            self._old.discard()
        self._counts.update(row["status"] for row in rows)

    def _append(self, outcome: ItemResult) -> Row:
        frames, matrices = self._streams[".extxyz"], self._streams[".matrices"]
        text = io.StringIO()
        for atoms in outcome.frames:
            write_extxyz(text, [atoms])
        frames.write(text.getvalue().encode())
        first, matrix = matrices.tell(), outcome.matrix
        if matrix is not None:
            matrices.write(matrix.tobytes())
        return {
            "index": outcome.item.index,
            "source": outcome.item.source,
            "status": outcome.status,
            "reason": outcome.reason,
            "fingerprint": fingerprint(outcome.item),
            "frames": len(outcome.frames),
            "end": frames.tell(),
            "matrix": None if matrix is None else [first, len(matrix), matrix.dtype.str],
            "matrices_end": matrices.tell(),
            **outcome.facts,
        }

    def close(self) -> None:
        """Wait until everything is on the disk, and close; it may be closed twice."""
        self._close_streams()
        self._lock.close()

    def _close_streams(self) -> None:
        for stream in self._streams.values():
            if not stream.closed:
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
        if self.files.matrices.exists() and not self.files.matrices.stat().st_size:
            self.files.matrices.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._close_streams()
            if kind is not None:
                self._old.restore(self.files.all)
            self._old.discard()
        finally:
            self._lock.close()

    def sort(self) -> None:
        """Put the structures in the order of the items, whatever order they were done in."""
        if self._in_order:
            return
        self._close_streams()
        lines = b"".join(map(line_of, _write_sorted(self.files)))
        # From here on the sorting is finished by the next run if this one ends.
        write_atomically(self.files.sorted_ledger, lines)
        self._load()


def _open(path: Path, length: int) -> BinaryIO:
    """Open a file to append to it behind its first `length` bytes."""
    stream = path.open("ab")
    stream.truncate(length)
    stream.seek(0, os.SEEK_END)
    return stream


def _write_sorted(files: Files) -> list[Row]:
    """Write the structures in order to a new file and return the lines of its ledger."""
    last: dict[int, tuple[int, Row]] = {}
    begin = matrices_end = 0
    for row in read_rows(files):
        last[row["index"]] = begin, row
        begin, matrices_end = row["end"], row["matrices_end"]
    rows, end = [], 0
    with files.frames.open("rb") as old, files.sorted_frames.open("wb") as new:
        for _, (begin, row) in sorted(last.items()):
            old.seek(begin)
            new.write(old.read(row["end"] - begin))
            end += row["end"] - begin
            rows.append(row | {"end": end, "matrices_end": matrices_end})
        new.flush()
        os.fsync(new.fileno())
    return rows


def _finish_sorting(files: Files) -> None:
    if files.sorted_ledger.exists():
        if files.sorted_frames.exists():
            os.replace(files.sorted_frames, files.frames)
        os.replace(files.sorted_ledger, files.ledger)
