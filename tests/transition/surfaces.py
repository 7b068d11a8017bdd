"""Model surfaces with known stationary points, as ASE calculators."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms


class MuellerBrown(Calculator):
    """Müller and Brown's surface for the second atom; the first one is held, far away.

    Energies are scaled to 1/100 eV, coordinates are in Å; a spring keeps the atom in the plane.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012
    scale, spring = 0.01, 5.0
    A = np.array([-200.0, -100.0, -170.0, 15.0])
    a = np.array([-1.0, -1.0, -6.5, 0.7])
    b = np.array([0.0, 0.0, 11.0, 0.6])
    c = np.array([-10.0, -10.0, -6.5, 0.7])
    x = np.array([1.0, 0.0, -0.5, -1.0])
    y = np.array([0.0, 0.5, 1.5, 1.0])

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self.surface(self.atoms.positions[1])
        forces = np.stack([0 * gradient, -gradient])
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def surface(self, place):
        """Energy, eV, and gradient [3], eV/Å."""
        u, v = place[0] - self.x, place[1] - self.y
        terms = self.scale * self.A * np.exp(self.a * u**2 + self.b * u * v + self.c * v**2)
        x = (terms * (2 * self.a * u + self.b * v)).sum()
        y = (terms * (self.b * u + 2 * self.c * v)).sum()
        energy = terms.sum() + self.spring * place[2] ** 2 / 2
        return float(energy), np.array([x, y, self.spring * place[2]])


# Known to three decimals: minima, and the saddle points between them.
MINIMA = np.array([[-0.558, 1.442], [-0.050, 0.467], [0.623, 0.028]])
SADDLES = np.array([[-0.822, 0.624], [0.212, 0.293]])


def particle(x, y, z=0.0):
    """An atom on the surface, at (x, y)."""
    atoms = Atoms("H2", [[3, 3, 0], [x, y, z]], constraint=FixAtoms([0]))
    atoms.calc = MuellerBrown()
    return atoms


class Quadratic(Calculator):
    """``E = (x - x0)ᵀ H (x - x0) / 2`` of all coordinates."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, hessian, origin):
        super().__init__()
        self.hessian, self.origin = hessian, origin

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = (self.atoms.positions - self.origin).ravel()
        gradient = self.hessian @ away
        energy = float(away @ gradient / 2)
        forces = -gradient.reshape(-1, 3)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
