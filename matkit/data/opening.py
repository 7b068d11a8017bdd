"""Opening files of structures: what a name means, and whether there is something to read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matkit.errors import DataError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Bytes of a file that is read as a whole; a compressed one may grow without end.
LARGEST = 1 << 28
PART = re.compile(r"(?P<file>.+)@(?P<part>-?\d+|-?\d*:-?\d*(?::-?[1-9]\d*)?)", re.DOTALL)


def locate(name: str | Path) -> tuple[Path, str]:
    """Return the file, and which of its structures are meant: `a.xyz@-1`, `a.xyz@0:10:2`.

    A file of the whole name goes first.
    """
    found = PART.fullmatch(str(name))
    if found is None or os.path.lexists(name):
        return Path(name), ""
    return Path(found["file"]), found["part"]


def check_file(path: Path) -> None:
    """Check that a path is a file with something in it; nothing that could hang is opened.

    Raises:
        DataError: there is no such file, or it is a folder, device or pipe, unreadable or empty.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"Expected a file with structures, but there is no file {path}.") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a null byte
        raise DataError(f"Cannot open {str(path)!r}: {error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"Expected a file with structures, but {path} is a folder. Name the files in it, such "
            f"as {path / '*.cif'}"
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"Expected a file with structures, but {path} is a device or a pipe. Write what it "
            "gives to a file first."
        )
    if not status.st_size:
        raise DataError(f"Expected structures in {path}, got an empty file.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"Cannot open {path}: {error.strerror}. Check who may read it.") from error


def open_text(path: Path, errors: str = "strict") -> io.TextIOBase:
    """Open a text file in UTF-8, compressed or not, with or without a byte-order mark."""
    opener = OPENERS.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding="utf-8-sig", errors=errors)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8 or, if it is none, Latin-1.

    Raises:
        DataError: there is too much of it.
    """
    with OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        content: bytes = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"it is larger than {LARGEST >> 20} MiB. Divide it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
