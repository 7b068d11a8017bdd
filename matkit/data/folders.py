"""Files of structures in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

from matkit.data.opening import OPENERS, open_text
from matkit.data.reading import XYZ

# Files of a folder or an archive that are taken for structures; named files are always read.
ENDINGS = (".cif", ".csv", ".parquet", ".db", ".traj", ".vasp", *XYZ)
NAMES = ("POSCAR", "CONTCAR")


def structure_files(folder: Path) -> list[Path]:
    """Return the files of structures at any depth; 2.cif comes before 10.cif."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and is_structure(path, partial(_first_line, path))
    )
    return sorted(files, key=lambda path: natural(str(path.relative_to(folder))))


def is_structure(path: PurePath, first_line: Callable[[], str]) -> bool:
    """Return whether a file is taken for structures.

    Args:
        path: Its name.
        first_line: Gives the first line of a CSV file: one without columns of structures only has
            numbers about them. One that cannot be read is taken for structures, so that it is
            counted as a failure.
    """
    name = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    if name.name.startswith("."):
        return False
    if name.suffix.lower() != ".csv":
        return name.suffix.lower() in ENDINGS or name.name in NAMES
    try:
        columns = first_line().split(",")
    except Exception:  # each kind of compression has errors of its own
        return True
    return bool({"cif", "numbers"} & {column.strip('" \n') for column in columns})


def _first_line(path: Path) -> str:
    with open_text(path) as stream:
        return stream.readline()


def natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names with the numbers in them as numbers."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
