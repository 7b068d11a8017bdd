"""Structures of a file, one after another, so that files larger than memory can be read.

Every command reads through `entries_of`: what cannot be used is an entry too, with its place and
the reason, and costs no other entry.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from matkit.data.ase import check_atoms
from matkit.data.ase_files import (
    ase_formats,
    format_of,
    read_by_ase,
    read_pdb,
    read_poscar,
    read_res,
    read_trajectory,
)
from matkit.data.cif import read_cif
from matkit.data.formats import databases, reader_of
from matkit.data.opening import OPENERS, check_file, locate, open_text, read_text
from matkit.data.tables import read_csv, read_parquet
from matkit.data.xyz import read_xyz
from matkit.elements import SYMBOLS
from matkit.errors import DataError, MatkitError, MissingExtraError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from ase import Atoms

XYZ = (".xyz", ".extxyz")
# What a parser gives, one after another: a structure, or why there is none.
Reader: TypeAlias = "Callable[[Path], Iterator[Atoms | str] | Iterator[Atoms]]"
HINT = ". If its name does not tell its format, say which it is (format)"
# Where formats of crystallography and of proteins put the occupancies of sites.
OCCUPANCIES = ("occupancy", "occupancies")


@dataclass(frozen=True)
class Entry:
    """One structure of a file, or the reason why it cannot be used.

    Attributes:
        index: Its place in the file, from 0.
        atoms: The structure; None if it cannot be used.
        reason: What is wrong with it.
    """

    index: int
    atoms: Atoms | None
    reason: str = ""


def read_atoms(path: str | Path, format: str | None = None) -> Iterator[Atoms]:
    """Give the structures of a file: extended XYZ, ASE db or trajectory, CSV, parquet, CIF, ...

    Args:
        path: As for `entries_of`.
        format: As for `entries_of`.

    Raises:
        DataError: the file is missing or empty, or an entry cannot be used.
        UnknownNameError: there is no such format.
    """
    for entry in entries_of(path, format):
        if entry.atoms is None:
            raise DataError(refusal(path, entry))
        yield entry.atoms


def refusal(path: str | Path, entry: Entry) -> str:
    """Return a message about an entry that cannot be used."""
    return f"Cannot read {locate(path)[0]}[{entry.index}]: {entry.reason.rstrip('.')}."


def entries_of(path: str | Path, format: str | None = None) -> Iterator[Entry]:
    """Give every entry of a file, usable or not.

    Extended XYZ, CIF and CSV may be compressed (gz, bz2, xz). Whatever ASE reads is read.

    Args:
        path: File; `file@slice` (`a.xyz@-1`, `a.xyz@0:10:2`) are some of its entries.
        format: ASE's name of the format, `csv` or `parquet`, if the name of the file does not tell.

    Raises:
        DataError: the file is missing or empty, or has no entry of that number.
        MissingExtraError: a package for the format is not installed.
        UnknownNameError: there is no such format.
    """
    file, part = locate(path)
    if format is not None and format not in formats():
        raise UnknownNameError(f"Unknown format {format!r}.{did_you_mean(format, formats())}")
    known = reader_of(file) if os.path.isdir(file) else None
    if known is None:  # else a program that keeps its data in a folder
        check_file(file)
        known = reader_of(file) if format is None else None
    entries = _entries(file, known or _reader(file, format), HINT if format is None else "")
    yield from _part(entries, part, file) if part else entries


def formats() -> frozenset[str]:
    """Return the names of all formats."""
    return ase_formats().union(READERS)


def _entries(file: Path, reader: Reader, hint: str) -> Iterator[Entry]:
    number = 0
    try:
        for found in reader(file):
            yield _checked(number, found)
            number += 1
    except MissingExtraError:
        raise
    except Exception as error:  # the parsers of formats raise anything; nothing follows
        yield Entry(number, None, brief(error).rstrip(".") + ("" if number else hint))
        return
    if not number:
        yield Entry(0, None, "there is no structure in it")


def _reader(file: Path, format: str | None) -> Reader:
    """Return what reads a file."""
    if format is not None:
        return READERS.get(format) or partial(read_by_ase, format)
    endings = [ending.lower() for ending in file.suffixes if ending.lower() not in OPENERS]
    by_name = ENDINGS.get(endings[-1] if endings else "")
    if by_name is not None:
        return READERS[by_name]
    kind = format_of(file)
    return READERS.get(kind) or partial(read_by_ase, kind)


def _checked(number: int, found: Atoms | str) -> Entry:
    """Return an entry, after what no structure of any format may be."""
    if isinstance(found, str):
        return Entry(number, None, " ".join(found.split()))
    try:
        check_atoms(found, "")
        _refuse_ghosts(found)
        _refuse_disorder(found)
    except MatkitError as error:
        return Entry(number, None, brief(error))
    return Entry(number, found)


def _refuse_ghosts(atoms: Atoms) -> None:
    bad = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(SYMBOLS)))
    if len(bad):
        raise DataError(
            f"atom {bad[0]} has no element (atomic number {atoms.numbers[bad[0]]}). Take dummies "
            "and ghosts out"
        )


def _refuse_disorder(atoms: Atoms) -> None:
    """Refuse sites that hold atoms in part; a column of zeros says that nobody filled it in."""
    sites = atoms.info.get("occupancy", {})
    mixed = isinstance(sites, dict) and any(
        len(site) > 1 or min(site.values()) < 1 for site in sites.values()
    )
    columns = [atoms.arrays[name] for name in OCCUPANCIES if name in atoms.arrays]
    if mixed or any(np.any(column) and np.any(column != 1) for column in columns):
        raise DataError(
            "expected one atom on every site, got partial occupancies. Make an ordered cell first"
        )


def _part(entries: Iterable[Entry], part: str, file: Path) -> Iterator[Entry]:
    """Give the entries that a slice means; only as many are kept as have to be.

    Raises:
        DataError: there is none.
    """
    bounds = [int(text) if text else None for text in part.split(":")]
    if len(bounds) == 1:
        chosen = _single(entries, bounds[0] or 0)
    elif any(bound is not None and bound < 0 for bound in bounds):
        chosen = iter(list(entries)[slice(*bounds)])
    else:
        chosen = islice(entries, *bounds)
    number = -1
    for number, entry in enumerate(chosen):  # noqa: B007 counts whether there is one
        yield entry
    if number < 0:
        raise DataError(f"{file} has no structures {part}. Give others behind the @.")


def _single(entries: Iterable[Entry], number: int) -> Iterator[Entry]:
    if number >= 0:
        return islice(entries, number, number + 1)
    last = deque(entries, maxlen=-number)
    return iter([last[0]] if len(last) == -number else [])


def brief(error: Exception) -> str:
    """Return the message of an error on one line; that of a parser says what kind it is."""
    text = " ".join(f"{error}".split())[:1000]
    if isinstance(error, MatkitError):
        return text
    if isinstance(error, KeyError):
        return f"there is {text} where something else is expected, such as an element (KeyError)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _read_xyz(file: Path) -> Iterator[Atoms | str]:
    with open_text(file, errors="surrogateescape") as stream:
        yield from read_xyz(stream)


def _read_cif(file: Path) -> Iterator[Atoms | str]:
    yield from read_cif(read_text(file))


def _read_csv(file: Path) -> Iterator[Atoms | str]:
    with open_text(file) as stream:
        yield from read_csv(stream)


READERS: dict[str, Reader] = {
    "xyz": _read_xyz,
    "extxyz": _read_xyz,
    "cif": _read_cif,
    "csv": _read_csv,
    "parquet": read_parquet,
    "db": databases.read,
    "traj": read_trajectory,
    "vasp": read_poscar,
    "proteindatabank": read_pdb,
    "res": read_res,
}
# Endings that go before what ASE makes of a name.
ENDINGS = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".cif": "cif",
    ".mcif": "cif",
    ".csv": "csv",
    ".parquet": "parquet",
    ".db": "db",
}
