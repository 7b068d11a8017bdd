"""Files that ASE reads, and what it must not be trusted with."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.data.opening import open_text
from matkit.elements import ATOMIC_NUMBERS
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms


# Occupancies of SHELX for one atom: 1, or 11 where it is not refined.
WHOLE = re.compile(r"1?1(\.0*)?")


@lru_cache(maxsize=1)
def ase_formats() -> frozenset[str]:
    """Return the names of the formats that ASE can read."""
    from ase.io.formats import ioformats

    return frozenset(name for name, kind in ioformats.items() if kind.can_read)


def format_of(path: Path) -> str:
    """Return ASE's name of the format of a file, from its name or content.

    Raises:
        DataError: neither tells.
    """
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        return str(filetype(os.path.abspath(path)))
    except UnknownFileTypeError as error:
        raise DataError(f"its format is not known ({error})") from error


def read_trajectory(path: Path) -> Iterator[Atoms | str]:
    """Give the frames of an ASE trajectory."""
    from ase.io.trajectory import Trajectory

    with Trajectory(os.path.abspath(path)) as frames:
        for i in range(len(frames)):
            try:
                yield frames[i]
            except Exception as error:  # it raises anything
                yield f"{type(error).__name__}: {error}"


def read_poscar(path: Path) -> Iterator[Atoms]:
    """Give the structure of a POSCAR, whose elements are not looked for in files beside it.

    Raises:
        DataError: it does not name the elements.
    """
    with open_text(path, errors="replace") as stream:
        head = [stream.readline().split() for _ in range(6)]
    if head[5] and all(word.isdigit() for word in head[5]):
        named = head[0] if all(word in ATOMIC_NUMBERS for word in head[0]) else []
        if len(named) != len(head[5]) or "X" in named:
            raise DataError(
                "expected the elements in the line before the numbers of atoms, and found none "
                f"(VASP 4). Write {len(head[5])} symbols there"
            )
    yield from read_by_ase("vasp", path)


def read_pdb(path: Path) -> Iterator[Atoms]:
    """Give the structures of a PDB file whose cell, if it has one, is filled by its atoms.

    Raises:
        DataError: symmetry would have to be applied, or the cell only says that there is none.
    """
    with open_text(path, errors="replace") as stream:
        cells = {line.rstrip() for line in stream if line.startswith("CRYST1")}
    for line in cells:
        group, lengths = line[55:66].strip(), line[6:33].split()
        if group not in ("", "P 1", "P1"):
            raise DataError(
                f"its atoms are a part of the cell, the rest of which follows by space group "
                f"{group}. Expand it to P 1"
            )
        if lengths == ["1.000"] * 3:
            raise DataError("its cell of 1 Å says that there is none. Take out the line CRYST1")
    yield from read_by_ase("proteindatabank", path)


def read_res(path: Path) -> Iterator[Atoms]:
    """Give the structure of a SHELX file without symmetry and partial occupancies.

    Raises:
        DataError: there are some.
    """
    with open_text(path, errors="replace") as stream:
        rows = [line.split("!")[0].split() for line in stream]
    for words in filter(None, rows):
        start = words[0].upper()
        if start == "SYMM" or (start == "LATT" and words[1:2] != ["-1"]):
            raise DataError("its atoms are a part of the cell (LATT, SYMM). Expand it to P 1")
        # A row of an atom: label, number of the element, place, occupancy.
        if len(words) > 5 and words[1].isdigit() and not WHOLE.fullmatch(words[5]):
            raise DataError(f"expected one atom on every site, got {words[5]} of {words[0]}")
    yield from read_by_ase("res", path)


def read_by_ase(kind: str, path: Path) -> Iterator[Atoms]:
    """Give the structures of a file of ASE's format `kind`; an @ in its name has no meaning."""
    import ase.io

    name = os.path.abspath(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from ase.io.iread(name, ":", format=kind, do_not_split_by_at_sign=True)
