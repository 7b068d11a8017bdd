"""Structures of a file, one after another, so that files larger than memory can be read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matkit.data.formats import reader_of
from matkit.data.formats.extxyz import parse_comment
from matkit.data.tables import read_csv, read_parquet
from matkit.errors import DataError, MatkitError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
XYZ = (".xyz", ".extxyz")


def read_atoms(path: str | Path) -> Iterator[Atoms]:
    """Give the structures of a file: extended XYZ, ASE db or trajectory, CSV, parquet, CIF, ...

    Extended XYZ and CSV may be compressed (gz, bz2, xz). Whatever ASE reads is read.

    Raises:
        DataError: the file is missing, empty, or cannot be read.
    """
    path = Path(path)
    known = reader_of(path)
    if known is None and not path.is_file():
        raise DataError(f"Expected a file with structures, but there is no file {path}.")
    if not path.stat().st_size:
        raise DataError(f"Expected structures in {path}, got an empty file.")
    number = 0
    try:
        for atoms in (known or _reader(path))(path):
            refuse_disorder(atoms)
            yield atoms
            number += 1
    except MissingExtraError:
        raise
    except MatkitError as error:
        raise DataError(f"Cannot use {path}[{number}]: {error}") from error
    except Exception as error:
        raise DataError(
            f"Cannot read {path}[{number}]: {type(error).__name__}: {error}. Expected "
            "extended XYZ, an ASE database or trajectory, CSV, parquet or another file that "
            "ase.io.read understands; its format is taken from its name."
        ) from error


def open_text(path: Path) -> io.TextIOBase:
    """Open a text file, compressed or not."""
    return OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8")


def _reader(path: Path) -> Callable[[Path], Iterator[Atoms]]:
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in OPENERS]
    last = endings[-1] if endings else ""
    if last in XYZ:
        return _read_xyz
    by_ending = {".csv": _read_table, ".parquet": read_parquet}
    return by_ending.get(last, _read_other)


def _read_xyz(path: Path) -> Iterator[Atoms]:
    """Read (extended) XYZ a structure at a time; ASE's own search is slow in compressed files."""
    from ase.io.extxyz import read_xyz

    with open_text(path) as stream:
        for line in stream:
            if not line.strip():
                continue
            block = [line, *(_next_line(stream) for _ in range(int(line) + 1))]
            frame = io.StringIO("".join(block))
            yield next(read_xyz(frame, 0, properties_parser=parse_comment))


def _next_line(stream: io.TextIOBase) -> str:
    line = stream.readline()
    if not line:
        raise ValueError("the file ends in the middle of this structure")
    return line


def _read_table(path: Path) -> Iterator[Atoms]:
    with open_text(path) as stream:
        yield from read_csv(stream)


def _read_other(path: Path) -> Iterator[Atoms]:
    import ase.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CIF files from databases warn about everything
        yield from ase.io.iread(path, index=":")


def refuse_disorder(atoms: Atoms) -> None:
    """Refuse sites that hold several atoms in part.

    Raises:
        DataError: there are such sites.
    """
    sites = atoms.info.get("occupancy", {})
    if any(len(site) > 1 or min(site.values()) < 1 for site in sites.values()):
        raise DataError(
            "expected one atom on every site, got partial occupancies. Make an ordered cell first."
        )
