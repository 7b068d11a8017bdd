"""A quick potential for copper-like crystals."""

import torch

from matkit.interfaces import Potential
from matkit.nn.scatter import scatter_sum


class Morse(Potential):
    """``E = sum over pairs of D (x² - 2 x) (1 - (r/r_c)²)³`` with ``x = exp(-a (r - 2.6 Å))``."""

    def __init__(self, depth: float = 0.4, width: float = 1.5) -> None:
        super().__init__()
        self.cutoff, self.species, self.width = 5.0, (29, 47), width
        self.depth = torch.nn.Parameter(torch.tensor(depth, dtype=torch.float64))

    def forward(self, graph):
        distance = torch.linalg.vector_norm(graph.vectors, dim=1)
        pull = torch.exp(-self.width * (distance - 2.6))
        energy = self.depth * (pull**2 - 2 * pull) * (1 - (distance / self.cutoff) ** 2) ** 3
        return {"atom_energy": scatter_sum(energy / 2, graph.center, len(graph.species))}
