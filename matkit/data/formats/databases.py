"""ASE databases: labels of the calculator, key-value pairs and data, with SchNetPack's units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.data.unit_names import factor

if TYPE_CHECKING:
    from ase import Atoms

# SchNetPack's names in the metadata.
UNITS, DISTANCE = "_property_unit_dict", "_distance_unit"


def read(path: Path) -> Iterator[Atoms | str]:
    """Give the structures of a database, one after another, or why one cannot be had.

    Raises:
        UnknownNameError: SchNetPack's metadata name an unknown unit of length.
    """
    from ase.db import connect

    with connect(path.absolute()) as database:
        metadata = database.metadata
        units, distance = metadata.get(UNITS, {}), metadata.get(DISTANCE)
        scale = factor("length", distance) if distance else 1.0
        for row in database.select():
            try:
                atoms = row.toatoms()
            except Exception as error:  # it raises anything
                yield f"row {row.id}: {type(error).__name__}: {error}"
                continue
            atoms.info.update(row.key_value_pairs)
            _add(atoms, dict(row.data))
            if scale != 1:
                atoms.set_cell(atoms.cell * scale)
                atoms.positions *= scale
            if units or distance:
                atoms.info |= {f"{name}_unit": unit for name, unit in units.items() if unit}
                atoms.info["read_as"] = _told(units, distance)
            yield atoms


def _add(atoms: Atoms, data: Mapping[str, Any]) -> None:
    """Add numbers that stand in a row's data: one row for each atom, or one for the structure."""
    for name, value in data.items():
        numbers = np.asarray(value) if isinstance(value, np.ndarray | list | int | float) else None
        if numbers is None or numbers.dtype.kind not in "iuf" or name in atoms.arrays:
            continue
        if numbers.ndim and len(numbers) == len(atoms) and numbers.shape[1:] == (3,):
            atoms.set_array(name, numbers)
        elif numbers.size == 1:
            atoms.info[name] = numbers.reshape(()).item()
        elif numbers.size in (6, 9):
            # SchNetPack has a first dimension of one.
            atoms.info[name] = numbers[0] if numbers.shape[0] == 1 else numbers


def _told(units: Mapping[str, str], distance: str | None) -> str:
    table = ", ".join(f"{name} in {unit}" for name, unit in units.items() if unit)
    return f"SchNetPack's database: {table or 'no units'}; positions in {distance or 'Å'}"
