"""Files of the simulations: names, refusing to overwrite, and files that can be cut back."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from ase import Atoms
from ase.io.extxyz import write_extxyz

from matkit.errors import OutputExistsError, SimulationError
from matkit.runs.atomic import write_atomically


class TextFile:
    """A text file that is written through at once and knows how long it is.

    A new file is written beside the old one and takes its place with the first text, so that an
    old result is there until there is a new one, and a link is replaced and not written through.

    Args:
        path: File; its folder is made if it is not there.
        keep: Bytes of an existing file to keep, to go on behind them; what follows is cut off.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part = None if keep else path.with_name(f".{path.name}.{uuid4().hex}.part")
        self._file = (self._part or path).open("ab", buffering=0)
        if keep:
            self._file.truncate(keep)

    def write(self, text: str) -> None:
        """Append `text`, all of it or, if that fails, nothing."""
        before, rest = os.fstat(self._file.fileno()).st_size, text.encode()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            self._file.truncate(before)
            raise
        if self._part is not None:
            self._take_place(self._part)

    def _take_place(self, part: Path) -> None:
        self._file.close()  # Windows moves no open file
        os.replace(part, self.path)
        self._part, self._file = None, self.path.open("ab", buffering=0)

    def sync(self) -> int:
        """Wait until everything is on the disk and return the length in bytes."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file; it may be closed twice. Without any text there is no file."""
        try:
            self._file.close()
        finally:
            if self._part is not None:
                self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_length(path: Path, keep: int) -> None:
    """Check that a file still holds what a run before wrote.

    Raises:
        SimulationError: there are fewer bytes than should be kept.
    """
    found = path.stat().st_size if path.exists() else 0
    if found < keep:
        raise SimulationError(
            f"Cannot go on with {path}: expected at least {keep} bytes from the run before, got "
            f"{found}. Put the file back, or start anew with overwrite."
        )


def append_frame(file: TextFile, atoms: Atoms, **info: Any) -> None:
    """Append a frame in extended XYZ, with `info` on its comment line."""
    frame = atoms.copy()
    frame.calc = atoms.calc
    frame.info.update(info)
    buffer = io.StringIO()
    write_extxyz(buffer, [frame])
    file.write(buffer.getvalue())


def write_frame(path: Path, atoms: Atoms, **info: Any) -> None:
    """Write a file with one frame in extended XYZ."""
    with TextFile(path) as file:
        append_frame(file, atoms, **info)


def sort_frames(path: Path, key: str) -> None:
    """Sort the frames of an extended XYZ file by a whole number on their comment lines.

    Nothing is parsed: every frame stays as it is, to the last byte.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    frames, number, start = [], re.compile(rf"\b{key}=(\d+)"), 0
    while start < len(lines):
        end = start + int(lines[start]) + 2
        found = number.search(lines[start + 1])
        assert found is not None, f"a frame of {path} without {key}"
        frames.append((int(found[1]), "".join(lines[start:end])))
        start = end
    order = sorted(frames, key=lambda frame: frame[0])
    if order != frames:
        write_atomically(path, "".join(text for _, text in order).encode())


def refuse_existing(paths: Iterable[Path]) -> None:
    """Refuse to replace results.

    Raises:
        OutputExistsError: some of the files exist.
    """
    found = [str(path) for path in paths if os.path.lexists(path)]
    if found:
        raise OutputExistsError(
            f"Expected to write new files, but there already are: {', '.join(found)}. Choose "
            "another folder or suffix, or allow to overwrite."
        )
