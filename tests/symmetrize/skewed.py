"""A network and a calculator that depend on how a structure lies, and structures to turn."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from scipy.spatial.transform import Rotation

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.scatter import scatter_sum

SPECIES = (1, 6, 8, 11, 14, 17, 29)


class Skewed(Potential):
    """A smooth, short-ranged energy that is no invariant, with a derivative of its own."""

    def __init__(self, analytic: bool = True) -> None:
        super().__init__()
        self.cutoff, self.species, self.analytic = 4.0, SPECIES, analytic
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 0.3, 0.5]).double())

    def forward(self, graph: Graph) -> Properties:
        """Return energies of degrees one to three in the edge vectors."""
        return {"atom_energy": self._energy(graph, graph.vectors)}

    def edge_gradient(self, graph: Graph) -> tuple[Properties, torch.Tensor] | None:
        """Return the derivative, unless it is left to autograd."""
        if not self.analytic:
            return None
        with torch.enable_grad():
            vectors = graph.vectors.detach().requires_grad_()
            energy = self._energy(graph, vectors)
            (gradient,) = torch.autograd.grad(energy.sum(), vectors)
        return {"atom_energy": energy.detach()}, gradient

    def _energy(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        x, y, z = vectors.unbind(dim=1)
        a, b, c = self.weight
        squares = vectors.square().sum(dim=1)
        near = (1 - squares / self.cutoff**2).clamp(min=0) ** 3
        charge = graph.species[graph.neighbor].sqrt()
        parts = scatter_sum(
            near * charge * (a * x + b * y * z + c * y**2 * z), graph.center, len(graph.species)
        )
        return parts + parts**2 / 10


class SkewedCalculator(Calculator):
    """A calculator with energies and forces that depend on how a molecule lies."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Sum over pairs of atoms."""
        super().calculate(atoms, properties, system_changes)
        r = atoms.positions[:, None] - atoms.positions[None]
        x, y, z = np.moveaxis(r, 2, 0)
        wave = np.exp(-(r**2).sum(axis=2) / 8)
        charge = np.sqrt(np.outer(atoms.numbers, atoms.numbers))
        term = x**2 - 0.5 * x * y - 0.3 * y * z
        slope = np.stack([2 * x - 0.5 * y, -0.5 * x - 0.3 * z, -0.3 * y], axis=2)
        slope = slope - term[..., None] * r / 4
        self.results = {
            "energy": (charge * wave * term).sum() / 2,
            "forces": -(charge[..., None] * wave[..., None] * slope).sum(axis=1),
        }


def turned(atoms: Atoms, seed: int, mirrored: bool = False) -> tuple[Atoms, np.ndarray]:
    """Return a structure that lies another way, and the matrix of rows that turns it."""
    matrix = Rotation.random(random_state=seed).as_matrix() * (-1 if mirrored else 1)
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ matrix)
    other.positions = atoms.positions @ matrix
    return other, matrix


def generic() -> dict[str, Atoms]:
    """Structures with three different principal moments."""
    rattled = bulk("NaCl", "rocksalt", a=5.6) * (1, 1, 2)
    rattled.set_cell(rattled.cell.array @ np.diag([1.0, 1.1, 1.25]), scale_atoms=True)
    rattled.rattle(0.2, seed=0)
    return {"ethanol": molecule("CH3CH2OH"), "water": molecule("H2O"), "salt": rattled}


def symmetric() -> dict[str, Atoms]:
    """Structures without axes of their own."""
    return {
        "methane": molecule("CH4"),
        "acetylene": molecule("C2H2"),
        "copper": bulk("Cu"),
        "atom": Atoms("O"),
    }
