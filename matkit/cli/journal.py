"""What became of the structures of a file so far, so that a run that was ended can go on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from matkit.data.ase import charge_or_spin
from matkit.errors import ConfigError
from matkit.runs.items import Item, fingerprint
from matkit.runs.settings import changed_settings
from matkit.runs.text_files import TextFile

Row = dict[str, Any]
# What has no influence on results.
FREE = {"out", "overwrite", "restart", "device", "struct", "batch_size", "workers", "executor"}


class Journal:
    """A line for every structure that is done, and how long the file of results was then.

    Args:
        path: Hidden file beside the results; the first line of a new run replaces that of another.
        settings: Resolved options of the run.
        defaults: Those of options: what a run of a version without an option was made with.
        goes_on: Whether to take up what is there.

    Raises:
        ConfigError: the run to go on with had other options.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any],
        goes_on: bool,
    ) -> None:
        own = {key: value for key, value in settings.items() if key not in FREE}
        self._done: dict[tuple[int, str], Row] = {}
        self.length = 0
        content = path.read_bytes() if goes_on and path.is_file() else b""
        keep = self._take_up(content, path, own, defaults)
        self._first = "" if keep else json.dumps(own) + "\n"
        self._file = TextFile(path, keep)

    def _take_up(
        self,
        content: bytes,
        path: Path,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> int:
        """Read the lines that are whole and return their length."""
        lines = content.splitlines(keepends=True)
        if not lines or not lines[0].endswith(b"\n"):
            return 0
        try:
            old, *entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
            done = {(e["index"], e["fingerprint"]): e["row"] for e in entries}
            self.length = int(entries[-1]["length"]) if entries else 0
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} does not say what was done before ({error!r}). Start anew with overwrite."
            ) from error
        new = json.loads(json.dumps(settings))
        if changed := changed_settings(old, new, old.keys() - new.keys(), defaults):
            raise ConfigError(
                f"Cannot go on with {path.parent}: it was begun with other options: {changed}. "
                "Use the same ones, or start anew with overwrite."
            )
        self._done = done
        return sum(len(line) for line in lines if line.endswith(b"\n"))

    def row(self, index: int, atoms: Atoms) -> Row | None:
        """Return what became of a structure, None if it was not done or is another now."""
        return self._done.get((index, _checksum(atoms)))

    def write(self, index: int, atoms: Atoms, row: Row, length: int) -> None:
        """Add a structure; `length` is that of the file of results with it, in bytes."""
        entry = {
            "index": index,
            "fingerprint": _checksum(atoms),
            "length": length,
            "row": row,
        }
        self._file.write(self._first + json.dumps(entry, allow_nan=False) + "\n")
        self._first = ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _checksum(atoms: Atoms) -> str:
    """Return a checksum of everything about a structure that results depend on."""
    conditions = [charge_or_spin(atoms, key) for key in ("charge", "spin")]
    held = [constraint.todict() for constraint in atoms.constraints]
    more = repr((atoms.get_masses().tolist(), conditions, held))
    return f"{fingerprint(Item(0, '', atoms))}{zlib.crc32(more.encode()):08x}"
