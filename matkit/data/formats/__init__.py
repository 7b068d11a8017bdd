"""Readers of other programs' files of labelled structures.

Each gives `Atoms` with positions in Å and labels as they stand in the file, and declares the units
of the labels (``energy_unit``, ``forces_unit``, ``stress_unit``) in ``atoms.info``, so that they
are converted in one place and the report says so. ``read_as`` is what else is to be known.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

Reader = Callable[[Path], Iterator["Atoms"]]

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
    ".out": "outputs",
    ".log": "outputs",
}
_BY_NAME = {"input.data": "n2p2", "vasprun.xml": "outputs", "OUTCAR": "outputs"}
_COMPRESSED = (".gz", ".bz2", ".xz")


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a file or folder, by its name; None if it is not of this folder."""
    if path.is_dir():
        return _reader("deepmd") if _is_deepmd(path) else None
    name = path.name
    while name.lower().endswith(_COMPRESSED):
        name = name[: name.rindex(".")]
    for known, module in _BY_NAME.items():
        if name.lower().startswith(known.lower()) or name.lower().endswith(f".{known.lower()}"):
            return _reader(module)
    ending = name[name.rindex(".") :].lower() if "." in name else ""
    if ending in _BY_ENDING:
        return _reader(_BY_ENDING[ending])
    return _reader("lammps_dump") if name.lower().startswith("dump.") else None


def _reader(module: str) -> Reader:
    return importlib.import_module(f"matkit.data.formats.{module}").read


def _is_deepmd(folder: Path) -> bool:
    """Whether a folder holds systems of DeePMD, itself or in its folders."""
    return any(folder.glob("type.raw")) or any(folder.glob("*/type.raw"))
