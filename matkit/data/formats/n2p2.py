"""``input.data`` of n2p2 and RuNNer, whose units the file does not tell."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.data.opening import open_text
from matkit.data.units_of_files import ASSUMED, ASSUMED_LENGTH
from matkit.errors import MissingExtraError
from matkit.units import BOHR

if TYPE_CHECKING:
    from ase import Atoms

READ_AS = (
    "n2p2 (input.data): the file names no units; taken as Bohr and Hartree, as n2p2 has them. If "
    "it is in Å and eV, say --length-unit A --energy-unit eV"
)


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a file, positions converted from Bohr.

    Raises:
        MissingExtraError: ASE is too old to read such files.
    """
    try:
        from ase.io.runner.reader import read_runnerdata
        from ase.io.runner.runneratoms import Units
    except ImportError as error:
        raise MissingExtraError(
            "Files of n2p2 are read by ASE 3.29 or newer: pip install --upgrade ase"
        ) from error

    for lines in _frames(path):
        every = slice(None)
        (atoms,) = read_runnerdata(io.StringIO("".join(lines)), every, Units.ASE, Units.ASE)
        results = dict(atoms.calc.results) if atoms.calc is not None else {}
        atoms.calc = None
        atoms.set_cell(atoms.cell * BOHR, scale_atoms=False)
        atoms.positions *= BOHR
        if "energy" in results:
            atoms.info["energy"] = float(results["energy"])
        if "forces" in results:
            atoms.set_array("forces", results["forces"])
        atoms.info |= {
            "length_unit": "bohr",
            "energy_unit": "hartree",
            "forces_unit": "hartree/bohr",
            ASSUMED_LENGTH: "bohr",
            ASSUMED: True,
            "read_as": READ_AS,
        }
        yield atoms


def _frames(path: Path) -> Iterator[list[str]]:
    lines: list[str] = []
    with open_text(path, errors="replace") as stream:
        for line in stream:
            lines.append(line)
            if line.strip() == "end":
                yield lines
                lines = []
    if any(line.strip() for line in lines):
        raise ValueError("the file ends in the middle of this structure")
