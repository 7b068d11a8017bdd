"""XSF files, also those of aenet, which write the total energy as a comment and forces in eV/Å."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.data.opening import open_text
from matkit.units import HARTREE

if TYPE_CHECKING:
    from ase import Atoms

ENERGY = re.compile(r"#\s*total energy[ \t]*=[ \t]*(\S+)[ \t]*(\S*)", re.IGNORECASE)


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a file; with aenet's comment, their energies too.

    Raises:
        ValueError: the comment has no number.
    """
    from ase.io.xsf import iread_xsf

    with open_text(path, errors="replace") as stream:
        text = stream.read()
    energies = [(float(value), unit) for value, unit in ENERGY.findall(text)]
    frames = list(iread_xsf(iter(text.splitlines(keepends=True))))
    for i, atoms in enumerate(frames):
        if atoms.calc is not None:
            # XSF has forces in Hartree/Å and ASE converts them; aenet writes eV/Å.
            forces = atoms.calc.results["forces"] / HARTREE
            atoms.calc = None
            atoms.set_array("forces", forces)
            atoms.info["forces_unit"] = "eV/A" if energies else "hartree/A"
        if len(energies) == len(frames):
            value, unit = energies[i]
            atoms.info |= {"energy": value, "energy_unit": unit or "eV"}
            atoms.info["read_as"] = "aenet's XSF: total energy from the comment, forces in eV/Å"
        else:
            atoms.info["read_as"] = "XSF: forces in Hartree/Å, as its description says; no energies"
        yield atoms
