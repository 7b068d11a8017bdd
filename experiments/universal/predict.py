"""Predict energies, forces and stresses of a file of structures; started by errors.py.

    python predict.py MODEL STRUCTURES OUT.npz

Runs inside each package's own environment, so it imports matkit only for matkit's models.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from contenders import chgnet, matkit


def predict(atoms: Atoms, calc: Calculator) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy, forces and stress [3, 3]; NaN where the model gives none."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.calc = calc
    try:
        energy, forces = bare.get_potential_energy(), bare.get_forces()
        whole = bare.pbc.all() and bare.cell.rank == 3
        stress = bare.get_stress(voigt=False) if whole else np.full((3, 3), np.nan)
    except Exception as error:  # CHGNet refuses isolated atoms, models refuse elements
        print(f"{bare.symbols}: {type(error).__name__}: {error}", file=sys.stderr)
        return np.nan, np.full((len(bare), 3), np.nan), np.full((3, 3), np.nan)
    return energy, forces, stress


def main(model: str, structures: str, out: str) -> None:
    calc = chgnet() if model == "chgnet" else matkit(model)
    found = [predict(atoms, calc) for atoms in read(structures, ":")]
    energies, forces, stresses = zip(*found, strict=True)
    np.savez(out, energy=energies, forces=np.concatenate(forces), stress=np.stack(stresses))


if __name__ == "__main__":
    main(*sys.argv[1:])
