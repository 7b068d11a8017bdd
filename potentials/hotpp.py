"""HotPP: message passing with Cartesian tensors of orders 0 to 2 (Wang et al. 2024).

Every atom has scalars, vectors and matrices. A message is the neighbour's tensor of order n times
r copies of the direction u to it and a radial function, contracted c times: of order n + r - 2c,
for every n, r and c that stays within order 2. Messages are summed up, their channels mixed order
by order, scalars activated, higher orders multiplied by a function of their norm, and added to what
the atom had; the scalars of the last layer give the energy (https://arxiv.org/abs/2402.15286; code
gitlab.com/bigd4/hotpp). Rotations and reflections are exact, without spherical harmonics.

Deviations: matrices are made symmetric and traceless, so that orders are the irreps l = 0, 1, 2
with parity (-1)^l; radial networks have no bias, and vanish with the cutoff function.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from matkit.graph import Graph
from matkit.interfaces import AtomDescription, Potential, Properties
from matkit.nn.arguments import check_positive
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.equivariant import Features, ScalarMLP
from matkit.nn.irreps import Irrep, wigner_3j
from matkit.nn.layered import check_domain
from matkit.nn.radial import BesselBasis, polynomial_envelope
from matkit.nn.references import References
from matkit.nn.scatter import scatter_sum

HIGHEST = 2

# Scalars [N, C], vectors [N, 3, C] and matrices [N, 3, 3, C], as far as there are any.
Tensors = list[Tensor]


class HotPP(Potential):
    """Energy network of Cartesian tensors.

    Args:
        species: Atomic numbers to know.
        cutoff: Longest edge, Å.
        channels: Tensors of every order that an atom has.
        layers: Rounds of messages.
        basis_size: Number of Bessel functions.
        radial_hidden: Hidden sizes of the radial networks.
        neighbor_norm: Number the sum over neighbours is divided by.

    Raises:
        ConfigError: an argument is out of range.
    """

    provides = frozenset({"atom_energy", "features"})
    statistics = frozenset({"neighbor_norm"})

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 5.0,
        channels: int = 64,
        layers: int = 4,
        basis_size: int = 8,
        radial_hidden: Sequence[int] = (64, 64, 64),
        neighbor_norm: float = 5.0,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        check_positive(channels=channels, layers=layers, neighbor_norm=neighbor_norm)
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.index = SpeciesIndex(self.species)
        self.embedding = nn.Embedding(len(self.species), channels)
        self.basis = BesselBasis(cutoff, basis_size)
        self.layers = nn.ModuleList()
        for t in range(layers):
            orders = (HIGHEST if t > 0 else 0, HIGHEST if t < layers - 1 else 0)
            messages = TensorMessages(orders, channels, (basis_size, *radial_hidden))
            self.layers.append(TensorLayer(messages, channels, neighbor_norm))
        self.readout = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1)
        )
        self.references = References(len(self.species))
        highest = HIGHEST if layers > 1 else 0
        self.feature_irreps = tuple(Irrep(channels, n, (-1) ** n) for n in range(highest + 1))

    def forward(self, graph: Graph) -> Properties:
        """Predict atomic energies [N] in eV, and the last scalars as `features` [N, C]."""
        scalars = self._tensors(graph, len(self.layers))[0]
        energy = self.references(self.readout(scalars).squeeze(1), self.index(graph.species))
        return Properties(atom_energy=energy, features=scalars)

    def equivariant_features(self, graph: Graph) -> Features:
        """Return the atoms' features before the last layer, which makes scalars of them.

        Scalars [N, 1, C], and with more than one layer vectors [N, 3, C] and the five components of
        matrices [N, 5, C] in the order of `matkit.nn.irreps.spherical_harmonics`.
        """
        scalars, *rest = self._tensors(graph, len(self.layers) - 1)
        if not rest:
            return (scalars.unsqueeze(1),)
        vectors, matrices = rest
        basis = 5**0.5 * wigner_3j(1, 1, 2).to(matrices)
        return scalars.unsqueeze(1), vectors, torch.einsum("xym,nxyc->nmc", basis, matrices)

    def describe(self, graph: Graph) -> AtomDescription:
        """Return the last scalars, and the directions before them."""
        _, *rest = self.equivariant_features(graph)
        vectors, matrices = rest or (None, None)
        return AtomDescription(self._tensors(graph, len(self.layers))[0], vectors, matrices)

    def _tensors(self, graph: Graph, layers: int) -> Tensors:
        vectors = graph.vectors
        lengths = vectors.norm(dim=1)
        envelope = polynomial_envelope(lengths, self.cutoff, power=5).unsqueeze(1)
        basis = (self.basis(lengths) * envelope).to(self.dtype)
        directions = (vectors / lengths.unsqueeze(1)).to(self.dtype)
        x = [self.embedding(self.index(graph.species))]
        for layer in self.layers[:layers]:
            x = layer(x, basis, directions, graph)
        return x


class TensorLayer(nn.Module):
    """Messages, a mixture of their channels, an activation; added to what was there before.

    Args:
        messages: From the neighbours to the atoms.
        channels: Tensors of every order.
        neighbor_norm: Number the sum over neighbours is divided by.
    """

    def __init__(self, messages: TensorMessages, channels: int, neighbor_norm: float) -> None:
        super().__init__()
        self.messages, self.neighbor_norm = messages, neighbor_norm
        orders = range(messages.highest + 1)
        self.mix = nn.ModuleList(nn.Linear(channels, channels, bias=n == 0) for n in orders)
        self.gates = nn.ModuleList(NormGate(channels) for _ in orders[1:])

    def forward(
        self,
        x: Tensors,
        basis: Float[Tensor, "E R"],
        directions: Float[Tensor, "E 3"],
        graph: Graph,
    ) -> Tensors:
        """Return the tensors after the layer, as many orders as there are messages of."""
        messages = self.messages(x, basis, directions, graph)
        mixed = [mix(m / self.neighbor_norm) for mix, m in zip(self.mix, messages, strict=True)]
        new = [silu(mixed[0]), *(g(m) for g, m in zip(self.gates, mixed[1:], strict=True))]
        return [added if n >= len(x) else x[n] + added for n, added in enumerate(new)]


class TensorMessages(nn.Module):
    """Sums over the neighbours of ``f(d) T ⊗ u ⊗ … ⊗ u``, contracted in every way.

    What a trace would add to a contraction or to a matrix is a multiple of another path's result,
    so that the traces are taken off the sums alone.

    Args:
        orders: Highest order of the tensors that are sent, and of the sums.
        channels: Tensors of every order.
        radial_widths: Input and hidden sizes of the radial network.
    """

    def __init__(
        self, orders: tuple[int, int], channels: int, radial_widths: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.highest, self.channels = orders[1], channels
        self.paths = contractions(*orders)
        self.radial = ScalarMLP((*radial_widths, len(self.paths) * channels))

    def forward(
        self,
        x: Tensors,
        basis: Float[Tensor, "E R"],
        directions: Float[Tensor, "E 3"],
        graph: Graph,
    ) -> Tensors:
        """Return the sums of orders 0 to the highest."""
        functions = self.radial(basis).split(self.channels, dim=1)
        sent = {(n, 0): tensor.index_select(0, graph.neighbor) for n, tensor in enumerate(x)}
        for n in range(1, len(x)):
            for c in range(1, n + 1):
                # Faster than a sum by einsum, which is a small matrix product for every edge.
                along = directions.view(len(directions), 3, *[1] * (n - c + 1))
                sent[n, c] = (sent[n, c - 1] * along).sum(dim=1)
        sums = []
        for order in range(self.highest + 1):
            # Horner's scheme: what is left of order k is multiplied by u order - k times in all.
            message: list[Tensor] = []
            for k in range(order + 1):
                message = [torch.einsum("e...c,ex->ex...c", m, directions) for m in message]
                for (n, r, c), f in zip(self.paths, functions, strict=True):
                    if (n - c, n + r - 2 * c) == (k, order):
                        message.append(f.view(len(f), *[1] * k, self.channels) * sent[n, c])
                message = [reduce(torch.add, message)]
            total = scatter_sum(message[0], graph.center, len(x[0]), graph.pointers)
            sums.append(traceless(total) if order == HIGHEST else total)
        return sums


class NormGate(nn.Module):
    """Multiply tensors by ``sigmoid(a |T|² + b)``.

    Args:
        channels: Tensors.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "N *K C"]) -> Float[Tensor, "N *K C"]:
        """Return the tensors in the same directions."""
        components = tuple(range(1, x.dim() - 1))
        norms = x.square().sum(dim=components, keepdim=True)
        return x * torch.sigmoid(self.weight * norms + self.bias)


def contractions(order_in: int, order_out: int) -> list[tuple[int, int, int]]:
    """Return orders n of tensors, numbers r of directions and c of contractions of the messages."""
    return [
        (n, r, c)
        for n in range(order_in + 1)
        for r in range(HIGHEST + 1)
        for c in range(min(n, r) + 1)
        if n + r - 2 * c <= order_out
    ]


def traceless(x: Float[Tensor, "N 3 3 C"]) -> Float[Tensor, "N 3 3 C"]:
    """Return the symmetric part without trace."""
    third = torch.einsum("nxxc->nc", x)[:, None, None] / 3
    unit = torch.eye(3, dtype=x.dtype, device=x.device).unsqueeze(2)
    return (x + x.transpose(1, 2)) / 2 - third * unit
