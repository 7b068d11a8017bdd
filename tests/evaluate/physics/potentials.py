"""Pairs of atoms with known faults."""

import torch

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.nn.scatter import scatter_sum
from tests.phonons.lattice import Morse

CUTOFF = 6.0


class Faulty(Morse):
    """Morse's potential with a term of the distance added; see `tests.phonons.lattice`."""

    def __init__(self, fault) -> None:
        super().__init__(CUTOFF, 3.7)
        self.fault = fault

    def forward(self, graph):
        distance = torch.linalg.vector_norm(graph.vectors, dim=1)
        more = scatter_sum(self.fault(distance) / 2, graph.center, len(graph.species))
        return {"atom_energy": super().forward(graph)["atom_energy"] + more}


def faulty(fault):
    return MatkitCalculator(Conservative(Faulty(fault)).eval(), device="cpu", dtype="float64")


def good(distance):
    return 0 * distance


def second_well(distance):
    return -0.3 * torch.exp(-8 * (distance - 5.0) ** 2)


def hole(distance):
    """Attraction that wins when atoms are near: they would fall into each other."""
    return -4e6 * torch.exp(-4 * distance**2)


def no_wall(distance):
    """Takes away the repulsion of Morse's potential, and a little more."""
    return -4e4 * torch.exp(-3 * distance)


def step(distance):
    """A jump that forces do not know of."""
    return -0.1 * (distance < 4.5).double()


def end(distance):
    """Energies that have not gone to zero at the cutoff."""
    return 0.05 + 0 * distance
