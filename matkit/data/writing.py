"""Data sets as extended XYZ, with the labels under the keys that are looked for first."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ase.io.extxyz import write_extxyz

from matkit.data.ase import to_ase
from matkit.data.collecting import DEFAULT_TYPE
from matkit.data.dataset import Dataset
from matkit.errors import OutputExistsError

if TYPE_CHECKING:
    from ase import Atoms

XYZ_ENDINGS = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz")


def is_xyz(path: str | Path) -> bool:
    """Whether a path is named like an (extended) XYZ file."""
    return str(path).lower().endswith(XYZ_ENDINGS)


def write_dataset(dataset: Dataset, path: str | Path, overwrite: bool = False) -> None:
    """Write a data set as extended XYZ; the file is there when it is complete.

    Labels are written as `REF_energy` (eV), `REF_forces` (eV/Å) and `REF_stress` (eV/Å³, positive
    in tension), those that are missing not at all, beside `config_type`, `group`, `charge`,
    `spin` and `source`.

    Raises:
        OutputExistsError: the file is there and may not be replaced.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"Expected to write a new file, but there already is {path}. Choose another name, or "
            "allow to overwrite."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(part, "wt", encoding="utf-8") as stream:
            for atoms in labelled_atoms(dataset):
                write_extxyz(stream, [atoms])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def labelled_atoms(dataset: Dataset) -> Iterator[Atoms]:
    """Give the structures of a data set for ASE, with their labels and names."""
    for i in range(len(dataset)):
        (atoms,) = to_ase(dataset.structures.index([i]))
        _rename(atoms)
        if dataset.config_types[i] != DEFAULT_TYPE:
            atoms.info["config_type"] = dataset.config_types[i]
        atoms.info |= {"group": dataset.groups[i], "source": dataset.sources[i]}
        yield atoms


def _rename(atoms: Atoms) -> None:
    """Give labels their key and drop those that are NaN."""
    forces, stress = atoms.arrays.pop("forces"), atoms.info.pop("stress")
    energy = atoms.info.pop("energy")
    if energy == energy:
        atoms.info["REF_energy"] = energy
    if (forces == forces).all():
        atoms.arrays["REF_forces"] = forces
    if (stress == stress).all():
        atoms.info["REF_stress"] = stress.reshape(9)
