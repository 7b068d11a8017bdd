"""A transformer over atoms that knows no rotation, and learns it in the space of its features.

Attention is rotary: pairs of query and key features turn by an angle in proportion to the
difference of two atoms along x, y or z, at wavelengths from half an Å to fifty, so that scores
depend on edge vectors alone. With `distances` some turn by the distance, and what a neighbour sends
turns as well: from plane waves along three axes alone a network hardly learns what a bond is (after
300 steps of five frames of ethanol errors are 92 % of the forces, 69 % if what is sent turns, and
14 % with distances too). In training each structure is seen again, turned, and a second network
says from the features of the first and from the matrix what those of the turned one must be; the
error is `penalty`, for the loss (TransIP, https://arxiv.org/abs/2510.00027, abstract and reviews:
its equations and sizes are not public in what we could read, so that those here are our own).

Deviations that are known: atoms attend to neighbours within a cutoff, with a weight that fades
smoothly to zero, so that crystals work too, energies are extensive and forces continuous; errors
are of each atom's features, not of the whole molecule's; forces are derivatives of the energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.arguments import check_positive
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.orientations import random_turns
from matkit.nn.radial import polynomial_envelope
from matkit.nn.scatter import scatter_sum

# Keeps the relative error of features finite where all atoms have the same.
SMALL = 1e-6


class TransIP(Potential):
    """Transformer with rotary attention between neighbours.

    Args:
        species: Atomic numbers to know.
        cutoff: Longest edge, Å.
        width: Features of an atom, a multiple of six times the number of heads, of eight times with
            `distances`.
        heads: Heads of the attention.
        layers: Layers.
        latent: Whether training compares features of turned copies, see `penalty`.
        distances: Whether features turn by distances too, and what is sent by all of them.
        wavelengths: Shortest and longest of the phases, Å.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 6.0,
        width: int = 192,
        heads: int = 8,
        layers: int = 4,
        latent: bool = True,
        distances: bool = False,
        wavelengths: Sequence[float] = (0.5, 50.0),
    ) -> None:
        super().__init__()
        check_positive(cutoff=cutoff, width=width, heads=heads, layers=layers)
        if len(wavelengths) != 2 or not 0 < wavelengths[0] <= wavelengths[1]:
            raise ConfigError(
                "Expected two `wavelengths` in Å, the shortest above zero and then the longest, "
                f"got {list(wavelengths)}."
            )
        short, long = wavelengths
        parts, turns = (8, "x, y, z and distances") if distances else (6, "x, y and z")
        if width % (parts * heads):
            raise ConfigError(
                f"Expected a width that is a multiple of {parts} x {heads} heads, got {width}: "
                f"features of a head turn in pairs along {turns}."
            )
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.provides = frozenset({"atom_energy", "features"} | ({"penalty"} if latent else set()))
        self.index = SpeciesIndex(self.species)
        self.embed = nn.Embedding(len(self.species), width)
        self.distances = distances
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, distances) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, 1)
        self.turn = LatentTurn(width) if latent else None
        count = width // (parts * heads)
        waves = short * (long / short) ** (torch.arange(count) / max(count - 1, 1))
        self.register_buffer("frequencies", 2 * pi / waves, persistent=False)

    frequencies: Tensor

    def forward(self, graph: Graph) -> Properties:
        """Predict atomic energies [N] in eV and `features` [N, width]; in training `penalty` [B].

        The penalty is the squared error of predicted features of turned copies, averaged over the
        atoms, relative to how much features of atoms of one element differ in the batch (their
        squares are hundreds of times that, most of which is the element); zero outside of training.
        """
        features = self._features(graph)
        found = Properties(atom_energy=self.readout(features).squeeze(1), features=features)
        if self.turn is not None:
            found["penalty"] = self._penalty(graph, features)
        return found

    def _features(self, graph: Graph) -> Float[Tensor, "N W"]:
        nodes = self.embed(self.index(graph.species))
        vectors, lengths = graph.vectors, graph.vectors.norm(dim=1, keepdim=True)
        fade = polynomial_envelope(lengths.squeeze(1), self.cutoff).to(nodes)
        along = torch.cat([vectors, lengths], dim=1) if self.distances else vectors
        angles = along.to(nodes).unsqueeze(2) * self.frequencies.to(nodes)
        phases = torch.stack([angles.cos(), angles.sin()]).flatten(2)
        for layer in self.layers:
            nodes = layer(nodes, phases, fade, graph)
        return self.norm(nodes)

    def _penalty(self, graph: Graph, features: Float[Tensor, "N W"]) -> Float[Tensor, " B"]:
        if not self.training:
            return features.new_zeros(len(graph)).to(graph.positions)
        assert self.turn is not None
        matrix = random_turns(len(graph)).to(graph.positions)
        positions = torch.einsum("nx,nxy->ny", graph.positions, matrix[graph.batch])
        turned = graph.replace(positions=positions, cell=graph.cell @ matrix)
        wanted = self._features(turned)
        error = (self.turn(features, matrix[graph.batch]) - wanted).square().mean(dim=1)
        relative = error / (_spread(wanted, self.index(graph.species), len(self.species)) + SMALL)
        return scatter_sum(relative, graph.batch, len(graph)).double() / graph.n_atoms


def _spread(
    features: Float[Tensor, "N W"], index: Int[Tensor, " N"], n_species: int
) -> Float[Tensor, ""]:
    """Return the mean square of features less their means over the atoms of an element."""
    counts = torch.bincount(index, minlength=n_species).clamp(min=1).unsqueeze(1)
    means = scatter_sum(features, index, n_species) / counts
    return (features - means[index]).square().mean()


class TransformerLayer(nn.Module):
    """Attention between neighbours, and a gated perceptron of each atom.

    Args:
        width: Features of an atom.
        heads: Heads of the attention.
        turn_values: Whether what neighbours send turns with the phases.
    """

    def __init__(self, width: int, heads: int, turn_values: bool = False) -> None:
        super().__init__()
        self.heads, self.turn_values = heads, turn_values
        self.norm, self.norm_atoms = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.gate, self.up = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(
        self,
        nodes: Float[Tensor, "N W"],
        phases: Float[Tensor, "2 E P"],
        fade: Float[Tensor, " E"],
        graph: Graph,
    ) -> Float[Tensor, "N W"]:
        """Return the features after the layer."""
        nodes = nodes + self.out(self._attention(self.norm(nodes), phases, fade, graph))
        normed = self.norm_atoms(nodes)
        return nodes + self.down(silu(self.gate(normed)) * self.up(normed))

    def _attention(
        self,
        nodes: Float[Tensor, "N W"],
        phases: Float[Tensor, "2 E P"],
        fade: Float[Tensor, " E"],
        graph: Graph,
    ) -> Float[Tensor, "N W"]:
        n = len(nodes)
        query, key, value = self.attend(nodes).view(n, 3, self.heads, -1).unbind(dim=1)
        ours, theirs = query[graph.center], key[graph.neighbor]
        a, b = ours.chunk(2, dim=2)
        c, d = theirs.chunk(2, dim=2)
        cosine, sine = phases.unsqueeze(2)
        turned = cosine * (a * c + b * d) + sine * (a * d - b * c)
        scale = ours.shape[2] ** -0.5
        # An atom also attends to itself: so nothing jumps when its last neighbour leaves.
        own = (query * key).sum(dim=2) * scale
        scores = turned.sum(dim=2) * scale
        largest = scores.detach().new_full((n, self.heads), -torch.inf)
        rows = graph.center.unsqueeze(1).expand_as(scores)
        largest = largest.scatter_reduce(0, rows, scores.detach(), "amax")
        largest = torch.maximum(largest, own.detach())
        weight = (scores - largest[graph.center]).exp() * fade.unsqueeze(1)
        mine = (own - largest).exp()
        total = mine + scatter_sum(weight, graph.center, n, graph.pointers)
        values = value[graph.neighbor]
        if self.turn_values:
            a, b = values.chunk(2, dim=2)
            values = torch.cat([cosine * a - sine * b, sine * a + cosine * b], dim=2)
        sent = weight.unsqueeze(2) * values
        mixed = mine.unsqueeze(2) * value + scatter_sum(sent, graph.center, n, graph.pointers)
        return (mixed / total.unsqueeze(2)).flatten(1)


class LatentTurn(nn.Module):
    """From features and a rotation to the features of the turned structure.

    Args:
        width: Features of an atom.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.of_matrix = nn.Linear(9, width, bias=False)
        self.last = nn.Linear(width, width, bias=False)

    def forward(
        self, features: Float[Tensor, "N W"], matrix: Float[Tensor, "N 3 3"]
    ) -> Float[Tensor, "N W"]:
        """Return the features after the turn; without a turn they stay as they are."""
        away = matrix.flatten(1) - torch.eye(3).flatten().to(matrix)
        hidden = silu(self.first(features)) * self.of_matrix(away.to(features))
        return features + self.last(hidden)
