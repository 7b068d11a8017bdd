"""MACE's preprocessed data, HDF5: groups ``config_batch_i/config_j``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms

BATCH, CONFIG = "config_batch_", "config_"
# Names in the file, also in the group `properties` of newer ones, and ours.
PER_STRUCTURE = {"energy": "energy", "stress": "stress", "virials": "virials", "charge": "charge"}
NAMES = {"head": "head", "config_type": "config_type", "weight": "config_weight"}
# Weights that newer files state for each label.
WEIGHTS = "property_weights"


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a file, one after another.

    Raises:
        MissingExtraError: h5py is not installed.
        DataError: the file is not MACE's.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError('Reading HDF5 needs h5py: pip install "matkit[formats]"') from error
    with h5py.File(path) as file:
        batches = sorted((name for name in file if name.startswith(BATCH)), key=_number)
        if not batches:
            raise DataError(
                f"Expected MACE's data, groups named {BATCH}0, ...; got "
                f"{', '.join(file) or 'none'}."
            )
        for batch in batches:
            for name in sorted(file[batch], key=_number):
                yield _structure(file[batch][name])


def _number(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _structure(group: Any) -> Atoms:
    from ase import Atoms

    pbc, cell = _value(group, "pbc"), _value(group, "cell")
    atoms = Atoms(group["atomic_numbers"][()], group["positions"][()])
    if cell is not None:
        atoms.cell = np.asarray(cell, dtype=float).reshape(3, 3)
    atoms.pbc = False if pbc is None else np.asarray(pbc, dtype=bool)
    for source in (group, group.get("properties", {})):
        for name, key in {**PER_STRUCTURE, **NAMES}.items():
            if (value := _value(source, name)) is not None:
                atoms.info[key] = value
        if (forces := _value(source, "forces")) is not None:
            atoms.set_array("forces", forces)
    for name in group.get(WEIGHTS, {}):
        if (value := _value(group[WEIGHTS], name)) is not None:
            atoms.info[f"config_{name}_weight"] = value
    atoms.info["read_as"] = "MACE's HDF5: eV, Å; stresses in the order xx, yy, zz, yz, xz, xy"
    return atoms


def _value(group: Any, name: str) -> Any:
    """Return a value of a group as numbers or text; None if there is none."""
    if name not in group:
        return None
    value = group[name][()]
    if isinstance(value, bytes):
        text = value.decode()
        return None if text == "None" else text
    return value.item() if np.ndim(value) == 0 else np.asarray(value)
