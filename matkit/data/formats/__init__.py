"""Readers of other programs' files of labelled structures.

Each gives `Atoms` with positions in Å and labels as they stand in the file, and declares the units
of the labels (``energy_unit``, ``forces_unit``, ``stress_unit``) in ``atoms.info``, so that they
are converted in one place and the report says so. ``read_as`` is what else is to be known.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ase import Atoms

Reader: TypeAlias = "Callable[[Path], Iterator[Atoms | str] | Iterator[Atoms]]"

# Module of this folder by the end of the file's name; later endings are looked at first.
_BY_ENDING = {
    ".npz": "npz",
    ".npy": "refused",
    ".pkl": "refused",
    ".pickle": "refused",
    ".pt": "refused",
    ".pth": "refused",
    ".joblib": "refused",
    ".json": "trajectory_json",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".lammpstrj": "lammps_dump",
    ".dump": "lammps_dump",
    ".xsf": "aenet",
    ".axsf": "aenet",
    ".db": "databases",
    **dict.fromkeys((".out", ".output", ".log", ".pwo", ".castep", ".aims", ".nwo"), "outputs"),
}
_BY_BEGINNING = {"vasprun": "outputs", "outcar": "outputs", "input.data": "n2p2"}
# Endings of files that may be of several kinds, and what the first lines of the kinds look like.
_UNCLEAR = ("", ".data", ".txt", ".dat", ".bin", ".trj", ".lammps", ".nn")
_CONTENTS = {
    "lammps_dump": re.compile(rb"\s*ITEM: TIMESTEP"),
    "n2p2": re.compile(rb"(\s*[#!][^\n]*\n)*\s*begin\b"),
    "hdf5": re.compile(rb"\x89HDF\r\n"),
    "refused": re.compile(rb"\x80[\x02-\x05]|\x93NUMPY"),
}
_COMPRESSED = (".gz", ".bz2", ".xz")
_LOOKED_AT = 4096


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a file or folder by its name, or by how it begins.

    None if it is not of this folder.
    """
    if path.is_dir():
        return _reader("deepmd") if _is_deepmd(path) else None
    name = path.name.lower()
    while name.endswith(_COMPRESSED):
        name = name[: name.rindex(".")]
    for beginning, module in _BY_BEGINNING.items():
        if name.startswith(beginning):
            return _reader(module)
    ending = name[name.rindex(".") :] if "." in name else ""
    if ending in _BY_ENDING:
        return _reader(_BY_ENDING[ending])
    if name.startswith("dump."):
        return _reader("lammps_dump")
    return _by_contents(path) if ending in _UNCLEAR and path.is_file() else None


def _by_contents(path: Path) -> Reader | None:
    with path.open("rb") as stream:
        beginning = stream.read(_LOOKED_AT)
    for module, pattern in _CONTENTS.items():
        if pattern.match(beginning):
            return _reader(module)
    return None


def _reader(module: str) -> Reader:
    found: Reader = importlib.import_module(f"matkit.data.formats.{module}").read
    return found


def _is_deepmd(folder: Path) -> bool:
    """Whether a folder holds systems of DeePMD, itself or in its folders."""
    return any(folder.glob("type.raw")) or any(folder.glob("*/type.raw"))
