"""Crystals of folders, archives and files; whatever cannot be used is kept with the reason."""

from __future__ import annotations

import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from matkit.data.reading import OPENERS, XYZ, open_text, read_atoms, refuse_disorder
from matkit.data.tables import atoms_of, csv_rows, parquet_rows
from matkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# Files of a folder or an archive that are taken for structures; named files are always read.
ENDINGS = (".cif", ".csv", ".parquet", ".db", ".traj", ".vasp", *XYZ)
NAMES = ("POSCAR", "CONTCAR")
# Where something comes from, and the atoms or why there are none.
Entry: TypeAlias = "tuple[str, Atoms | str]"
# Smaller cells are taken for no crystal (Xie et al. 2022, code).
SMALLEST_VOLUME = 0.1


@dataclass(frozen=True)
class Crystal:
    """One entry of a file, whether it can be used or not.

    Attributes:
        source: Where it comes from.
        structure: None if there is no crystal in it.
        numbers: Atomic numbers; empty if nothing could be read.
        reason: Why there is no structure.
        attempt: Number of the crystal that it was made like and of the attempt at that, if it
            tells.
    """

    source: str
    structure: Structure | None = None
    numbers: tuple[int, ...] = ()
    reason: str = ""
    attempt: tuple[int, int] | None = None

    @property
    def loaded(self) -> bool:
        """Whether atoms could be read, though perhaps no crystal made of them."""
        return bool(self.numbers)


def read_crystals(paths: str | Path | Iterable[str | Path]) -> list[Crystal]:
    """Return every entry of folders, zip archives and files, in natural order of their names.

    Raises:
        DataError: a path does not exist, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    return [_crystal(source, item) for source, item in read_entries(paths)]


def read_entries(paths: str | Path | Iterable[str | Path]) -> list[Entry]:
    """Return what is in folders, zip archives and files: atoms, or why there are none.

    Raises:
        DataError: a path does not exist, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    places = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    found = [entry for place in places for entry in _read(place)]
    if not found:
        raise DataError(
            f"Expected crystals in {', '.join(map(str, places))}, found no file of structures. "
            f"Looked for {', '.join((*ENDINGS, *NAMES))}."
        )
    return found


def _crystal(source: str, item: Atoms | str) -> Crystal:
    try:
        return Crystal(source, reason=item) if isinstance(item, str) else crystal_of(item, source)
    except Exception as error:  # pymatgen raises anything
        return Crystal(source, reason=_brief(error))


def crystal_of(atoms: Atoms, source: str) -> Crystal:
    """Return the crystal of ASE's atoms."""
    from pymatgen.io.ase import AseAtomsAdaptor

    numbers, attempt = tuple(atoms.numbers.tolist()), attempt_of(atoms)
    reason = fault_of(atoms)
    if reason:
        return Crystal(source, numbers=numbers, reason=reason, attempt=attempt)
    places = atoms.get_scaled_positions(wrap=True)
    bare = type(atoms)(atoms.numbers, cell=atoms.cell, scaled_positions=places, pbc=True)
    return Crystal(source, AseAtomsAdaptor.get_structure(bare), numbers, attempt=attempt)


def attempt_of(atoms: Atoms) -> tuple[int, int] | None:
    """Return which structure atoms were made like, and which attempt at it they are, if known."""
    found = [atoms.info.get(name) for name in ("like", "attempt")]
    like, attempt = (x if isinstance(x, int | np.integer) and x >= 0 else None for x in found)
    return None if like is None or attempt is None else (int(like), int(attempt))


def fault_of(atoms: Atoms) -> str:
    """Return why atoms make no crystal, or nothing."""
    if not len(atoms):
        return "no atoms"
    if not atoms.pbc.all():
        return f"expected a cell periodic in three directions, got {atoms.pbc.tolist()}"
    if not (np.isfinite(atoms.cell.array).all() and np.isfinite(atoms.positions).all()):
        return "positions or cell are not finite"
    if atoms.cell.volume < SMALLEST_VOLUME:
        return f"volume {atoms.cell.volume:.2g} Å³ is below {SMALLEST_VOLUME} Å³"
    return "" if min(atoms.numbers) > 0 else "an atom has no element"


def _read(path: Path) -> Iterator[Entry]:
    if path.is_dir():
        for file in structure_files(path):
            yield from _read_file(file, str(file))
    elif path.suffix.lower() == ".zip" and path.is_file():
        yield from _read_archive(path)
    elif path.is_file():
        yield from _read_file(path, str(path))
    else:
        raise DataError(f"Expected a folder, a zip archive or a file of crystals, found no {path}.")


def _read_archive(path: Path) -> Iterator[Entry]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)  # never outside the folder, whatever the names say
        except (zipfile.BadZipFile, RuntimeError) as error:  # damaged, or with a password
            raise DataError(f"Cannot read the archive {path}: {error}") from error
        for file in structure_files(Path(folder)):
            yield from _read_file(file, f"{path}:{file.relative_to(folder)}")


def structure_files(folder: Path) -> list[Path]:
    """Return the files of structures at any depth; 2.cif comes before 10.cif."""
    files = (path for path in folder.rglob("*") if path.is_file() and _is_structure(path))
    return sorted(files, key=lambda path: _natural(str(path.relative_to(folder))))


def _is_structure(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    if name.name.startswith("."):
        return False
    if name.suffix.lower() == ".csv":
        return _has_structures(path)
    return name.suffix.lower() in ENDINGS or name.name in NAMES


def _has_structures(path: Path) -> bool:
    """Return whether a CSV file has structures and not only numbers about them.

    One that cannot be read is taken for structures, so that it is counted as a failure.
    """
    try:
        with open_text(path) as stream:
            columns = stream.readline().split(",")
    except Exception:  # each kind of compression has errors of its own
        return True
    return bool({"cif", "numbers"} & {name.strip('" \n') for name in columns})


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read_file(path: Path, source: str) -> Iterator[Entry]:
    """Give the entries of one file; one that cannot be read is an entry too."""
    number = 0
    try:
        for item in structures_in(path):
            yield f"{source}[{number}]", item
            number += 1
        if not number:
            raise DataError("there is no structure in it")
    except MissingExtraError:
        raise
    except Exception as error:  # the parsers of formats raise anything
        yield f"{source}[{number}]", _brief(error)


def structures_in(path: Path) -> Iterator[Atoms | str]:
    """Give atoms, or why there are none; a bad row of a table does not end the table."""
    ending = Path(path.stem if path.suffix.lower() in OPENERS else path).suffix.lower()
    if ending not in (".csv", ".parquet"):
        yield from read_atoms(path)
    elif ending == ".csv":
        with open_text(path) as stream:
            yield from map(_row, csv_rows(stream))
    else:
        yield from map(_row, parquet_rows(path))


def _row(row: dict[str, object]) -> Atoms | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms = atoms_of(row)
        refuse_disorder(atoms)
    except Exception as error:  # the parsers of formats raise anything
        return _brief(error)
    return atoms


def _brief(error: Exception) -> str:
    """Return the message on one line."""
    return " ".join(f"{error}".split())[:300] or type(error).__name__
