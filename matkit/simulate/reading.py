"""Reading structures to compute, one bad one among many included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from matkit.data.opening import locate
from matkit.data.reading import Entry, entries_of
from matkit.errors import DataError, StructureError
from matkit.simulate.frames import check_input


@dataclass(frozen=True)
class Frame:
    """One structure of a file, or the reason why it cannot be used.

    Attributes:
        index: Position in the file.
        atoms: Structure; None if it cannot be used.
        error: What is wrong with it.
    """

    index: int
    atoms: Atoms | None
    error: str = ""


def read_frames(path: str | Path, format: str | None = None) -> list[Frame]:
    """Read every structure of a file in any format that `matkit.data.reading.entries_of` takes.

    Args:
        path: File; a bad structure in it is reported in its `Frame` and the others are read.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        StructureError: the file is missing, empty, or nothing in it can be used.
        UnknownNameError: there is no such format.
    """
    try:
        entries = list(entries_of(path, format))
    except DataError as error:
        raise StructureError(str(error)) from error
    frames = [_checked(entry) for entry in entries]
    if all(frame.atoms is None for frame in frames):
        reason = frames[0].error.rstrip(".")
        raise StructureError(f"No structure in {locate(path)[0]} can be used: {reason}.")
    return frames


def _checked(entry: Entry) -> Frame:
    if entry.atoms is None:
        return Frame(entry.index, None, entry.reason)
    try:
        check_input(entry.atoms)
    except StructureError as error:
        return Frame(entry.index, None, str(error))
    return Frame(entry.index, entry.atoms)
