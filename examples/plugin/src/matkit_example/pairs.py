"""Learned pair energies: about the smallest potential that matkit can train and use."""

from collections.abc import Sequence

import torch
from torch import nn

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.embedding import SpeciesIndex


class Pairs(Potential):
    """Half of a learned function of distance and elements for every pair, ``E_i = ½ Σ_j f_ij(r)``.

    Reference energies and the unit of energy need not be written: matkit adds them to every energy
    network. Neither need forces and stress: they are derived.

    Args:
        species: Atomic numbers.
        cutoff: Longest pair, Å.
        basis_size: Gaussians of the distance.
        hidden: Width of the network.
    """

    provides = frozenset({"atom_energy"})

    def __init__(
        self, species: Sequence[int], cutoff: float = 5.0, basis_size: int = 16, hidden: int = 32
    ) -> None:
        super().__init__()
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.index = SpeciesIndex(self.species)
        self.register_buffer("centers", torch.linspace(0.5, self.cutoff, basis_size))
        self.kinds = nn.Embedding(len(species), basis_size)
        self.network = nn.Sequential(
            nn.Linear(basis_size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.last = nn.Linear(hidden, 1)

    def forward(self, graph: Graph) -> Properties:
        """Return energies of the atoms [N]."""
        index = self.index(graph.species)
        r = graph.vectors.norm(dim=1).to(self.dtype)
        x = self.kinds(index)
        basis = torch.exp(-(((r[:, None] - self.centers) * 3) ** 2))
        # A sum over the two ends and their product do not change when the ends are exchanged.
        pair = basis * (
            1 + x[graph.center] + x[graph.neighbor] + x[graph.center] * x[graph.neighbor]
        )
        fall = 0.5 * (torch.cos(torch.pi * (r / self.cutoff).clamp(max=1)) + 1)
        energy = 0.5 * self.last(self.network(pair)).squeeze(1) * fall**2
        total = energy.new_zeros(len(graph.species)).index_add(0, graph.center, energy)
        return Properties(atom_energy=total)
