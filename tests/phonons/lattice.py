"""Pair potentials for crystals of argon; one of them has phonons in closed form."""

import torch
from ase import Atoms
from ase.build import bulk

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.interfaces import Potential
from matkit.nn.scatter import scatter_sum


class Morse(Potential):
    """``E = sum over pairs D (x² - 2 x) (1 - (r/r_c)²)³`` with ``x = exp(-a (r - r0))``."""

    def __init__(self, cutoff: float, length: float) -> None:
        super().__init__()
        self.cutoff, self.species, self.length = cutoff, (10, 18), length
        self.strength = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, graph):
        distance = torch.linalg.vector_norm(graph.vectors, dim=1)
        pull = torch.exp(-1.5 * (distance - self.length))
        energy = self.strength * (pull**2 - 2 * pull) * (1 - (distance / self.cutoff) ** 2) ** 3
        return {"atom_energy": scatter_sum(energy / 2, graph.center, len(graph.species))}


class Springs(Morse):
    """``E = sum over pairs of k/2 (r - r0)²`` within the cutoff, k = 0.5 eV/Å²."""

    def forward(self, graph):
        stretch = torch.linalg.vector_norm(graph.vectors, dim=1) - self.length
        energy = self.strength * stretch**2 / 4
        return {"atom_energy": scatter_sum(energy, graph.center, len(graph.species))}


A = 5.3  # lattice constant of the cubic crystal, Å


def argon() -> Atoms:
    return bulk("Ar", "fcc", a=A)


def springs() -> MatkitCalculator:
    """Nearest neighbours of `argon`, 3.75 Å apart, joined by springs at rest."""
    return MatkitCalculator(Conservative(Springs(4.5, A / 2**0.5)).eval(), device="cpu")


def morse(length: float = 3.7) -> MatkitCalculator:
    return MatkitCalculator(Conservative(Morse(6.0, length)).eval(), device="cpu")
