"""Molecules of harmonic springs, whose minima and many frequencies are known in closed form."""

import numpy as np
import torch
from ase import Atoms

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.interfaces import Potential
from matkit.nn.scatter import scatter_sum

K = 30.0  # spring constant, eV/Å²
LENGTHS = {(1, 1): 1.62, (1, 7): 1.01, (1, 8): 0.96, (6, 8): 1.16, (7, 7): 1.10, (8, 8): 2.32}


class Springs(Potential):
    """``E = sum over pairs k/2 (r - r0)²`` of all pairs within the cutoff."""

    def __init__(self, cutoff: float, constant: float = K) -> None:
        super().__init__()
        self.cutoff, self.species = cutoff, (1, 6, 7, 8)
        self.constant = torch.nn.Parameter(torch.tensor(constant, dtype=torch.float64))
        lengths = torch.zeros(9, 9, dtype=torch.float64)
        for (a, b), length in LENGTHS.items():
            lengths[a, b] = lengths[b, a] = length
        self.register_buffer("lengths", lengths)

    def forward(self, graph):
        rest = self.lengths[graph.species[graph.center], graph.species[graph.neighbor]]
        stretch = torch.linalg.vector_norm(graph.vectors, dim=1) - rest
        energy = scatter_sum(self.constant * stretch**2 / 4, graph.center, len(graph.species))
        return {"atom_energy": energy}


def springs(
    cutoff: float = 3.0, constant: float = K, ignore_charge: bool = False
) -> MatkitCalculator:
    model = Conservative(Springs(cutoff, constant)).eval()
    return MatkitCalculator(model, device="cpu", ignore_charge=ignore_charge)


def nitrogen() -> Atoms:
    return Atoms("N2", [[0, 0, 0], [0, 0, LENGTHS[7, 7]]])


def carbon_dioxide() -> Atoms:
    return Atoms("OCO", [[0, 0, -LENGTHS[6, 8]], [0, 0, 0], [0, 0, LENGTHS[6, 8]]])


def ammonia() -> Atoms:
    """The minimum of its six springs."""
    radius = LENGTHS[1, 1] / np.sqrt(3)
    angles = 2 * np.pi * np.arange(3) / 3
    ring = radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    height = np.sqrt(LENGTHS[1, 7] ** 2 - radius**2)
    return Atoms("NH3", [[0, 0, height], *ring])
