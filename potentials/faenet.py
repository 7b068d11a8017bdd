"""FAENet: messages from raw edge vectors, made symmetric from outside (Duval et al., ICML 2023).

Nothing in it is equivariant: vectors go through linear maps as they are. It is meant as backbone
of `symmetrized` with `mode: frames` or `stochastic` (https://arxiv.org/abs/2305.05577; code
vict0rsch/faenet, MIT licence).

Deviations: messages fade smoothly at the cutoff, so that forces, derivatives of the energy, are
continuous; features are normalised for each atom alone (the published norm runs over the whole
batch, so that predictions depend on what else is in it); there are no tags of slab atoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from matkit.elements import period_and_group
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.arguments import check_positive
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.radial import GaussianBasis, polynomial_envelope
from matkit.nn.scatter import scatter_sum


class FAENet(Potential):
    """Graph network without symmetry.

    Args:
        species: Atomic numbers to know.
        cutoff: Longest edge, Å.
        hidden: Features of an atom.
        filters: Features of an edge, even.
        gaussians: Radial functions.
        layers: Rounds of messages.
        group_channels: Features of the period and of the group of an element, each.
    """

    provides = frozenset({"atom_energy", "features"})

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 6.0,
        hidden: int = 128,
        filters: int = 128,
        gaussians: int = 50,
        layers: int = 4,
        group_channels: int = 32,
    ) -> None:
        super().__init__()
        check_positive(cutoff=cutoff, hidden=hidden, filters=filters, layers=layers)
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.embed_atoms = ElementEmbedding(self.species, hidden, group_channels)
        self.basis = GaussianBasis(cutoff, gaussians)
        self.of_vector = nn.Linear(3, filters // 2)
        self.of_length = nn.Linear(gaussians, filters - filters // 2)
        self.layers = nn.ModuleList(FilteredMessages(hidden, filters) for _ in range(layers))
        self.readout = nn.Sequential(
            nn.Linear(hidden, hidden // 2), nn.SiLU(), nn.Linear(hidden // 2, 1)
        )

    def forward(self, graph: Graph) -> Properties:
        """Predict atomic energies [N] in eV, and `features` [N, hidden]."""
        nodes = self.embed_atoms(graph.species)
        vectors = graph.vectors
        lengths = vectors.norm(dim=1)
        radial = self.of_length(self.basis(lengths).to(nodes))
        edges = silu(torch.cat([self.of_vector(vectors.to(nodes)), radial], dim=1))
        fade = polynomial_envelope(lengths, self.cutoff).to(nodes).unsqueeze(1)
        for layer in self.layers:
            nodes = nodes + layer(nodes, edges, fade, graph)
        energy = self.readout(nodes).squeeze(1)
        return Properties(atom_energy=energy, features=nodes)


class FilteredMessages(nn.Module):
    """Messages of neighbours, times a filter that sees the edge and both of its ends.

    Args:
        hidden: Features of an atom.
        filters: Features of an edge.
    """

    def __init__(self, hidden: int, filters: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, filters)
        self.filter = nn.Linear(3 * filters, filters)
        self.norm = nn.LayerNorm(filters)
        self.up = nn.Sequential(
            nn.Linear(filters, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )

    def forward(
        self,
        nodes: Float[Tensor, "N H"],
        edges: Float[Tensor, "E F"],
        fade: Float[Tensor, "E 1"],
        graph: Graph,
    ) -> Float[Tensor, "N H"]:
        """Return what is to be added to the features."""
        small = silu(self.down(nodes))
        center, neighbor = small[graph.center], small[graph.neighbor]
        weight = fade * silu(self.filter(torch.cat([edges, center, neighbor], dim=1)))
        messages = scatter_sum(weight * neighbor, graph.center, len(nodes), graph.pointers)
        return self.up(silu(self.norm(messages)))


class ElementEmbedding(nn.Module):
    """An element as itself, its period and its group.

    Args:
        species: Atomic numbers.
        hidden: Features.
        group_channels: Features of the period and of the group, each.
    """

    def __init__(self, species: tuple[int, ...], hidden: int, group_channels: int) -> None:
        super().__init__()
        self.index = SpeciesIndex(species)
        periods, groups = zip(*map(period_and_group, species), strict=True)
        self.register_buffer("period", torch.tensor(periods), persistent=False)
        self.register_buffer("group", torch.tensor(groups), persistent=False)
        self.of_element = nn.Embedding(len(species), hidden)
        self.of_period = nn.Embedding(max(periods) + 1, group_channels)
        self.of_group = nn.Embedding(max(groups) + 1, group_channels)
        self.mix = nn.Linear(hidden + 2 * group_channels, hidden)

    period: Tensor
    group: Tensor

    def forward(self, species: Tensor) -> Float[Tensor, "N H"]:
        """Return the features of atoms."""
        rows = self.index(species)
        element, period = self.of_element(rows), self.of_period(self.period[rows])
        return silu(self.mix(torch.cat([element, period, self.of_group(self.group[rows])], dim=1)))
