"""Trajectories of LAMMPS (dump files), which have forces but neither energies nor units."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.data.opening import open_text
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

HEADER = "ITEM: ATOMS"
SEPARATOR = "ITEM: TIMESTEP"


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a dump, one after another; ASE's energies of zero are left out.

    Raises:
        DataError: the atoms have no elements; ASE would take types for atomic numbers.
    """
    from ase.io.lammpsrun import read_lammps_dump_text

    for lines in _frames(path):
        columns = next((line for line in lines if line.startswith(HEADER)), "").split()[2:]
        if "element" not in columns and "mass" not in columns:
            raise DataError(
                f"Expected the elements of the atoms, got the columns {' '.join(columns)}: a type "
                "is a number of LAMMPS, not an element. Write dump ... id type element x y z fx "
                "fy fz, with dump_modify element."
            )
        atoms = read_lammps_dump_text(io.StringIO("".join(lines)), index=-1)
        if atoms.calc is not None:
            atoms.set_array("forces", atoms.calc.results["forces"])
            atoms.calc = None
        atoms.info["read_as"] = (
            "LAMMPS dump: it has no energies; taken as in the units `metal` (eV/Å). With `real` "
            "say --forces-unit kcal/mol/A"
        )
        yield atoms


def _frames(path: Path) -> Iterator[list[str]]:
    """Give the lines of each frame."""
    lines: list[str] = []
    with open_text(path, errors="replace") as stream:
        for line in stream:
            if line.startswith(SEPARATOR) and lines:
                yield lines
                lines = []
            lines.append(line)
    if lines:
        yield lines
