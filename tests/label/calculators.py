"""ASE calculators that are made by name, and leave a trace of every call."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Quadratic(Calculator):
    """Energy x K x / 2 with a matrix K that depends on the number of atoms only.

    Args:
        skew: Antisymmetric part of the forces' derivatives, which no energy has.
        trace: File to which a line is added for every calculation.
        pause: Seconds that one takes.
        fail: Numbers of atoms for which it fails: by an error, or by not a number if negative.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, skew: float = 0.0, trace: str = "", pause: float = 0.0, fail: int = 0):
        super().__init__()
        self.skew, self.trace, self.pause, self.fail = skew, trace, pause, fail

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.fail == len(self.atoms):
            raise RuntimeError("did not\nconverge")
        matrix, x = matrix_of(len(self.atoms)), self.atoms.positions.ravel()
        skew = self.skew * np.triu(np.ones_like(matrix), 1)
        forces = -((matrix + skew - skew.T) @ x).reshape(-1, 3)
        if self.fail == -len(self.atoms):
            forces[:] = np.nan
        time.sleep(self.pause)
        if self.trace:
            with Path(self.trace).open("a") as stream:
                stream.write(f"{x[0]:.6f} {os.getpid()}\n")
        energy = x @ matrix @ x / 2
        self.results = {"energy": energy + 1.0, "free_energy": energy, "forces": forces}


class Polar(Quadratic):
    """The same with charges, and the dipole that they make."""

    implemented_properties = [*Quadratic.implemented_properties, "dipole", "charges"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        charges = np.linspace(-1, 1, len(self.atoms))
        self.results |= {"charges": charges, "dipole": charges @ self.atoms.positions}


def matrix_of(n_atoms: int) -> np.ndarray:
    """A symmetric matrix [3N, 3N]."""
    rows = np.random.default_rng(n_atoms).normal(size=(3 * n_atoms, 3 * n_atoms))
    return rows + rows.T


def no_calculator(**options: object) -> str:
    return "not one"
