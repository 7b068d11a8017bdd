"""QM9 from the tables in the wheel of the package qm9pack, without its held-out molecules.

Ramakrishnan et al., Sci. Data 1, 140022 (2014).
"""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase.units import Hartree
from numpy.typing import NDArray

from matkit.elements import ATOMIC_NUMBERS
from matkit.errors import DataError

RowT = TypeVar("RowT")
TABLES = re.compile(r"qm9pack/data/qm9_part\d+\.csv")
# By name the column, and what its values are multiplied by to be in eV, debye and bohr³.
PROPERTIES = {
    "gap": ("HOMO_LUMO_gap_au", Hartree),
    "dipole": ("Dipole_debye", 1.0),
    "polarizability": ("Polarizability_bohr3", 1.0),
}
# All twelve scalar properties under their usual names, in D, bohr³, eV, bohr² and cal/mol/K.
LABELS = {
    "mu": ("Dipole_debye", 1.0),
    "alpha": ("Polarizability_bohr3", 1.0),
    "homo": ("HOMO_au", Hartree),
    "lumo": ("LUMO_au", Hartree),
    "gap": ("HOMO_LUMO_gap_au", Hartree),
    "r2": ("R2_bohr2", 1.0),
    "zpve": ("ZPVE_au", Hartree),
    "u0": ("InternalEnergy_0K_au", Hartree),
    "u298": ("InternalEnergy_298K_au", Hartree),
    "h298": ("Enthalphy_298K_au", Hartree),
    "g298": ("GibbsFreeEnergy_298K_au", Hartree),
    "cv": ("Heatcapacity_Cv_cal_mol_K", 1.0),
}


@dataclass(frozen=True)
class QM9Row:
    """A molecule of QM9.

    Attributes:
        index: Its number in QM9, from 1 to 133,885.
        numbers: Atomic numbers [n].
        positions: Cartesian coordinates [n, 3], Å.
        properties: Gap between HOMO and LUMO in eV, dipole in debye, polarizability in bohr³.
    """

    index: int
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    properties: dict[str, float]


def is_held_out(index: int) -> bool:
    """Return whether a molecule is kept from every training and choice of the project.

    Args:
        index: Its number in QM9.
    """
    return index % 25 == 7


def read_qm9(path: Path) -> Iterator[QM9Row]:
    """Give the molecules of the wheel that are not held out.

    Raises:
        DataError: the file is damaged, or another one.
    """
    return _rows(path, lambda index: not is_held_out(index), _row)


def read_qm9_labels(path: Path) -> Iterator[tuple[int, str, list[float]]]:
    """Give number, SMILES and the values of `LABELS` of the molecules that are not held out.

    Raises:
        DataError: the file is damaged, or another one.
    """
    return _rows(
        path,
        lambda index: not is_held_out(index),
        lambda row: (int(row["Index"]), row["SMILES"], _labels(row)),
    )


def read_held_out_qm9(path: Path) -> Iterator[tuple[QM9Row, list[float]]]:
    """Give the molecules that are held out, with the values of `LABELS`: for a last test alone.

    Raises:
        DataError: the file is damaged, or another one.
    """
    return _rows(path, is_held_out, lambda row: (_row(row), _labels(row)))


def _labels(row: Mapping[str, str]) -> list[float]:
    return [float(row[key]) * unit for key, unit in LABELS.values()]


def _rows(
    path: Path, wanted: Callable[[int], bool], make: Callable[[Mapping[str, str]], RowT]
) -> Iterator[RowT]:
    """Give what is made of the rows of all tables of the wheel with a wanted number.

    Raises:
        DataError: the file is damaged, or another one.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with zipfile.ZipFile(path) as wheel:
            tables = sorted(filter(TABLES.fullmatch, wheel.namelist()))
            for table in tables:
                with wheel.open(table) as stream:
                    rows = csv.DictReader(io.TextIOWrapper(stream, "utf-8"))
                    yield from (make(row) for row in rows if wanted(int(row["Index"])))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}). Fetch it anew: matkit data download qm9 --overwrite"
        ) from error
    if not tables:
        raise DataError(f"Expected the wheel of qm9pack, found no tables of QM9 in {path}.")


def _row(row: Mapping[str, str]) -> QM9Row:
    flat = row["XYZ_Ang"].translate(str.maketrans("[],", "   "))
    symbols = re.findall(r"[A-Z][a-z]?", row["Elements"])
    return QM9Row(
        index=int(row["Index"]),
        numbers=np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols]),
        positions=np.array(flat.split(), dtype=float).reshape(len(symbols), 3),
        properties={name: float(row[key]) * unit for name, (key, unit) in PROPERTIES.items()},
    )
