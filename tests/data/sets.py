"""Labelled structures whose energies, forces and stresses belong together."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write


def labelled(atoms: Atoms, **changes) -> Atoms:
    """The structure with labels of EMT, which ASE writes as `energy`, `forces` and `stress`."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.cell.rank == 3:
        results["stress"] = atoms.get_stress()
    results |= changes
    atoms.calc = SinglePointCalculator(
        atoms, **{key: value for key, value in results.items() if value is not None}
    )
    return atoms


def strained_copper(n: int = 6, **info) -> list[Atoms]:
    """Cubic cells of copper from compressed to stretched."""
    frames = []
    for scale in np.linspace(0.97, 1.03, n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        frames.append(labelled(atoms))
        frames[-1].info.update(info)
    return frames


def rattled_copper(n: int = 6, seed: int = 0, size: float = 0.05) -> list[Atoms]:
    """Cubic cells of copper with displaced atoms."""
    frames = []
    for i in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(size, seed=1000 * seed + i)
        frames.append(labelled(atoms))
    return frames


def save(path, frames) -> str:
    """Write frames, and return the path as text."""
    write(path, frames)
    return str(path)
