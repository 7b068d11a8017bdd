"""Structures in tables: one row each, atoms in list columns or a column with CIF text."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.data.cif import read_cif
from matkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms

EXPECTED = (
    "Expected a column `cif`, or the columns `numbers`, `lattice` (3x3 in Å, or a, b, c, alpha, "
    "beta, gamma) and `frac_coords`, or `numbers` and `positions` (Å)"
)
GEOMETRY = ("cif", "numbers", "lattice", "frac_coords", "positions", "n_atoms")
PER_ATOM = ("forces", "REF_forces")
# Rows of a parquet file held at once.
BATCH = 1000


def read_csv(stream: Iterable[str]) -> Iterator[Atoms | str]:
    """Give the structures of a CSV file, or why a row is none; lists are as in JSON or numpy."""
    yield from map(_atoms_or_reason, csv_rows(stream))


def csv_rows(stream: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Give the rows of a CSV file."""
    csv.field_size_limit(sys.maxsize)  # a CIF text or a list of forces is long
    yield from csv.DictReader(stream)


def read_parquet(path: Path) -> Iterator[Atoms | str]:
    """Give the structures of a parquet file, or why a row is none."""
    yield from map(_atoms_or_reason, parquet_rows(path))


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of a parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError(
            'Reading parquet needs pyarrow: pip install "matkit[parquet]"'
        ) from error
    with ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH):
            yield from batch.to_pylist()


def _atoms_or_reason(row: Mapping[str, Any]) -> Atoms | str:
    try:
        return _atoms_of(row)
    except DataError as error:
        return str(error)
    except Exception as error:  # numbers that are none, columns that do not fit
        return f"{type(error).__name__}: {error}"


def _atoms_of(row: Mapping[str, Any]) -> Atoms:
    """Return the structure of one row; further columns become info, or arrays if per atom.

    Raises:
        DataError: the columns do not describe a structure.
    """
    given = {name: value for name, value in row.items() if name and value not in (None, "")}
    atoms = _from_cif(given["cif"]) if "cif" in given else _from_lists(given)
    for name, value in given.items():
        if name in PER_ATOM:
            atoms.set_array(name, _numbers(value).reshape(-1, 3))
        elif name not in GEOMETRY:
            atoms.info[name] = _plain(value)
    return atoms


def _from_cif(text: str) -> Atoms:
    found = list(read_cif(text))
    if len(found) != 1:
        raise DataError(f"expected one structure in the column `cif`, got {len(found)}")
    (atoms,) = found
    if isinstance(atoms, str):
        raise DataError(atoms)
    return atoms


def _from_lists(row: Mapping[str, Any]) -> Atoms:
    from ase import Atoms

    coordinates = "frac_coords" if "frac_coords" in row else "positions"
    needed = {"numbers", coordinates, *(["lattice"] if coordinates == "frac_coords" else [])}
    if not needed <= row.keys():
        raise DataError(f"{EXPECTED}; got {', '.join(row) or 'none'}.")
    cell = _numbers(row["lattice"]) if "lattice" in row else None
    places = _numbers(row[coordinates]).reshape(-1, 3)
    return Atoms(
        numbers=_numbers(row["numbers"]).astype(int),
        cell=cell.reshape(3, 3) if cell is not None and cell.size == 9 else cell,
        pbc=cell is not None,
        **{"scaled_positions" if coordinates == "frac_coords" else "positions": places},
    )


def _numbers(value: Any) -> np.ndarray:
    """Return a flat array from a list, or from its text."""
    if isinstance(value, str):
        return np.array(value.translate(str.maketrans("[](),;", "      ")).split(), dtype=float)
    return np.asarray(value, dtype=float).ravel()


def _plain(value: Any) -> Any:
    """Return a number or list for the text of one."""
    if not isinstance(value, str):
        return value
    try:
        return _numbers(value) if value.startswith("[") else float(value)
    except ValueError:
        return value
