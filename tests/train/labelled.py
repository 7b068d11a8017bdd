"""Small labelled sets, from ASE's effective-medium theory."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

TINY = {
    "name": "nequip",
    "irreps": ["4x0e", "4x0e+4x1o", "8x0e"],
    "lmax": 1,
    "cutoff": 3.5,
    "radial_hidden": [8],
}


def frames(count: int = 12, elements: tuple[str, ...] = ("Cu", "Au"), seed: int = 0) -> list[Atoms]:
    """Rattled and strained crystals of four atoms with energy, forces and stress."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.7, cubic=True)
        atoms.symbols = rng.choice(elements, 4)
        atoms.set_cell(atoms.cell.array * (1 + 0.03 * rng.normal()), scale_atoms=True)
        atoms.positions += 0.08 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        atoms.get_stress()
        made.append(atoms)
    return made


def labelled_file(path: Path, atoms: list[Atoms]) -> str:
    write(path, atoms, format="extxyz")
    return str(path)


def timeless(history):
    """Rows of a log without the time that they took."""
    return [{key: value for key, value in row.items() if key != "minutes"} for row in history]
