"""MPNN: enn-s2s, messages through matrices that a network makes of edges (Gilmer et al. 2017).

Atoms v carry states h_v that begin as their features x_v. In each of T steps an atom receives
``m_v = Σ_w A(e_vw) h_w`` (eq. in section 5.1, "edge network"), where a perceptron makes the matrix
A of the edge's features, and a gated recurrent unit makes the next state of both; weights are
shared by the steps. The read-out sees (h_v, x_v). (https://arxiv.org/abs/1704.01212)

It describes atoms and predicts nothing: `readout` with set2set on top of it is enn-s2s.

Deviations: the matrix is linear in the last hidden units g of its perceptron, so that the sum
``Σ_w g(e_vw) h_wᵀ`` comes first and the matrices are never made: the same numbers in a fraction of
the memory; the edge networks for both directions are one with two outputs, since edges have no
direction here; features of atoms (aromatic, hybridisation, acceptor, donor, number of hydrogens)
are found from bonds, not by RDKit, and there is the formal charge; all pairs within `cutoff`
instead of all. Without distances edges are the bonds, and no positions are needed: a 2-D graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import StructureError
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.arguments import check_positive
from matkit.nn.bonds import ATOM_FEATURES, BOND_FEATURES, atom_features, bond_features, bond_graph
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.layered import check_choice, check_domain
from matkit.structures import Structures

DISTANCES = ("raw", "bins", "none")
# Borders of the distance bins, Å: below 2, eight up to 6, and beyond.
BINS = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0)


class MPNN(Potential):
    """Message passing with an edge network; it gives features of atoms alone.

    Args:
        species: Atomic numbers.
        width: Length d of an atom's state.
        steps: Number T of steps.
        edge_hidden: Hidden sizes of the edge network.
        distances: What an edge knows of its length: the length itself (`raw`), its place among ten
            `bins`, or `none`.
        cutoff: Longest edge, Å; without distances it has no meaning.

    Raises:
        ConfigError: an argument is out of range.
    """

    provides = frozenset({"features"})

    def __init__(
        self,
        species: Sequence[int],
        width: int = 64,
        steps: int = 6,
        edge_hidden: Sequence[int] = (64, 64),
        distances: str = "raw",
        cutoff: float = 15.0,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        check_choice("distances", distances, DISTANCES)
        check_positive(width=width, steps=steps, edge_hidden=len(edge_hidden))
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.width, self.steps, self.distances = width, steps, distances
        self.sees = frozenset({"bonds"} if distances == "none" else {"positions", "bonds"})
        self.index = SpeciesIndex(self.species)
        self.embedding = nn.Linear(len(species) + 1 + ATOM_FEATURES, width)
        lengths = {"raw": 1, "bins": len(BINS) + 1, "none": 0}[distances]
        sizes = [BOND_FEATURES + lengths, *edge_hidden]
        layers = (
            layer
            for before, after in pairwise(sizes)
            for layer in (nn.Linear(before, after), nn.SiLU())
        )
        self.edges = nn.Sequential(*layers)
        # Two networks with biases: A h = Σ_k g_k W_k h + W_0 h, for both directions.
        self.messages = nn.Linear((edge_hidden[-1] + 1) * width, 2 * width, bias=False)
        self.update = nn.GRUCell(2 * width, width)
        self.register_buffer("borders", torch.tensor(BINS), persistent=False)

    def featurize(self, structures: Structures, neighbors: str = "auto") -> Graph:
        """Build the graph of all pairs within the cutoff, or of the bonds.

        Raises:
            UnknownElementError: a structure holds an element outside `species`.
            StructureError: the network sees bonds alone, and there are none.
        """
        if self.distances != "none":
            return super().featurize(structures, neighbors)
        self.check_species(structures)
        if structures.bonds is None:
            raise StructureError(
                "Expected molecules with bonds for a network without distances, got structures "
                "of which no bonds are known. Give SMILES or SDF, or use `distances: raw`."
            )
        return bond_graph(structures, self.cutoff)

    def forward(self, graph: Graph) -> Properties:
        """Return the last states and the first ones [N, 2 d] as `features`."""
        first = self._initial(graph)
        rows, place = _by_center(graph)
        weights = self.edges(self._edge_features(graph, first))
        weights = torch.cat([weights, torch.ones_like(weights[:, :1])], dim=1)
        padded = weights.new_zeros(len(first), rows, weights.shape[1])
        padded[graph.center, place] = weights
        sender = torch.zeros(padded.shape[:2], dtype=torch.long, device=graph.device)
        sender[graph.center, place] = graph.neighbor
        state = first
        for _ in range(self.steps):
            sums = torch.bmm(padded.mT, state[sender])
            state = self.update(self.messages(sums.flatten(1)), state)
        return Properties(features=torch.cat([state, first], dim=1))

    def _initial(self, graph: Graph) -> Float[Tensor, "N d"]:
        kinds = torch.nn.functional.one_hot(self.index(graph.species), len(self.species))
        number = (graph.species / 10).unsqueeze(1)
        known = torch.cat([kinds, number, atom_features(graph)], dim=1)
        return torch.tanh(self.embedding(known.to(self.dtype)))

    def _edge_features(self, graph: Graph, like: Tensor) -> Float[Tensor, "E K"]:
        parts: list[Any] = [bond_features(graph)]
        if self.distances != "none":
            lengths = graph.vectors.norm(dim=1)
            if self.distances == "raw":
                parts.append(lengths.unsqueeze(1))
            else:
                bins = torch.bucketize(lengths, self.get_buffer("borders").to(lengths))
                parts.append(torch.nn.functional.one_hot(bins, len(BINS) + 1))
        return torch.cat(parts, dim=1).to(like)


def _by_center(graph: Graph) -> tuple[int, Int[Tensor, " E"]]:
    """Return the most edges of an atom, and the place of each edge among those of its centre."""
    begin = graph.pointers[graph.center]
    place = torch.arange(len(graph.center), device=graph.device) - begin
    return (int(place.max()) + 1 if len(place) else 1), place
