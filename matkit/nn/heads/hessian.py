"""From equivariant features to the blocks of a Hessian, without differentiating anything.

HIP (Burger et al. 2025, https://arxiv.org/abs/2509.21624): the 3x3 blocks of a Hessian are scalars,
pseudovectors and traceless symmetric matrices, 0e+1e+2e. They come from messages between two atoms:
one by one between these atoms, summed up between an atom and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.nn.equivariant import Features, Gate, Linear, ScalarMLP, normalized_silu
from matkit.nn.heads.further_layers import FurtherLayers
from matkit.nn.heads.matrices import GENERAL, SYMMETRIC, from_matrices, to_matrices
from matkit.nn.heads.pair_products import PairProducts
from matkit.nn.irreps import Irrep, Irreps, format_irreps, spherical_harmonics
from matkit.nn.kernels import Convolution
from matkit.nn.radial import BesselBasis, polynomial_envelope
from matkit.nn.scatter import scatter_sum
from matkit.pair_blocks import PairBlocks

# Pairs at a time, so that a CPU's caches hold what lies between two steps.
CHUNK = 256


class PairMessages(nn.Module):
    """Features 0e+1e+2e of pairs: both ends coupled with the direction, and with each other.

    With features a of the centre and b of the neighbour, both mapped linearly, the message is
    ``g((a + b) ⊗ Y_ij, a ⊗ b)``: a linear map and a gate g of all couplings. The second kind,
    products of vectors and of matrices (l = 1 and 2) channel by channel, ties what lies around one
    end to what lies around the other. A perceptron of the distance and of both ends' scalars
    weighs every channel of every coupling.

    Args:
        irreps: Irreps of the features, even scalars first.
        channels: Channels of the mapped features and of the messages.
        basis_size: Number of radial functions.
        lmax: Highest degree of Y.
        natural_parity: Whether Y_l has parity (-1)^l.

    Raises:
        ConfigError: a general 3x3 matrix cannot be made of the features.
    """

    def __init__(
        self, irreps: Irreps, channels: int, basis_size: int, lmax: int, natural_parity: bool
    ) -> None:
        super().__init__()
        self.lmax, self.basis_size = lmax, basis_size
        sent = tuple(Irrep(channels, *irrep.kind) for irrep in irreps)
        self.irreps_out: Irreps = tuple(Irrep(channels, *irrep.kind) for irrep in GENERAL)
        self.convolution = Convolution(sent, lmax, GENERAL, natural_parity)
        _check(irreps, lmax, self.convolution.irreps_out)
        self.multiplied = [i for i, irrep in enumerate(irreps) if irrep.l in (1, 2)]
        products = channels * len(self.multiplied)
        self.center, self.neighbor = Linear(irreps, sent), Linear(irreps, sent)
        self.scalars = ScalarMLP((irreps[0].channels, 2 * channels))
        self.radial = ScalarMLP((basis_size, channels))
        self.sizes = [self.convolution.weight_numel, *[channels] * len(self.multiplied)]
        self.weights = ScalarMLP((channels, 2 * channels, sum(self.sizes)))
        coupled = tuple(Irrep(n + products, *kind) for n, *kind in self.convolution.irreps_out)
        self.gate = Gate(self.irreps_out)
        self.linear = Linear(coupled, self.gate.irreps_in)

    def forward(self, x: Features, basis: Tensor, harmonics: Tensor, pairs: Graph) -> Features:
        """Return features [E, 2l + 1, channels] of degrees 0, 1 and 2, even under inversion.

        Args:
            x: Features of the atoms [N, 2l + 1, channels] per irrep.
            basis: Radial functions [E, basis_size].
            harmonics: Y of the pairs [E, (lmax + 1)²].
            pairs: Pairs.
        """
        weights, *rest = self._weights(x[0].squeeze(1), basis, pairs)
        a = [part[pairs.center] for part in self.center(x)]
        b = [part[pairs.neighbor] for part in self.neighbor(x)]
        both = tuple(map(torch.add, a, b))
        coupled = [self.convolution(both, harmonics, weights, one_edge_each(pairs))]
        for place, weight in zip(self.multiplied, rest, strict=True):
            coupled.append(_product(a[place] * weight.unsqueeze(1), b[place]))
        joined = (torch.cat(parts, dim=2) for parts in zip(*coupled, strict=True))
        return self.gate(self.linear(tuple(joined)))

    def _weights(self, scalars: Tensor, basis: Tensor, pairs: Graph) -> tuple[Tensor, ...]:
        """Return the weights of the convolution and of every product, one row per pair."""
        center, neighbor = self.scalars(scalars).chunk(2, dim=1)
        known = self.radial(basis) + center[pairs.center] + neighbor[pairs.neighbor]
        return self.weights(normalized_silu(known / sqrt(3))).split(self.sizes, dim=1)


def _check(irreps: Irreps, lmax: int, coupled: Irreps) -> None:
    if irreps[0].kind == (0, 1) and [i.kind for i in coupled] == [i.kind for i in GENERAL]:
        return
    raise ConfigError(
        f"Features {format_irreps(irreps)} and harmonics up to l = {lmax} cannot make the 0e+1e+2e "
        "of a Hessian; take lmax = 2 and features such as 64x0e+32x1o+16x2e before the backbone's "
        "last layer."
    )


def one_edge_each(pairs: Graph) -> Graph:
    """Return a graph in which every pair is an atom that sends to itself alone."""
    numbers = torch.arange(len(pairs.center), device=pairs.device)
    return pairs.replace(
        positions=pairs.vectors.detach(),
        species=torch.zeros_like(numbers),
        atom={},
        n_atoms=torch.bincount(pairs.batch[pairs.center], minlength=len(pairs)),
        center=numbers,
        neighbor=numbers,
    )


def _product(a: Float[Tensor, "E m C"], b: Float[Tensor, "E m C"]) -> Features:
    """Return the outer products of vectors, or the products of matrices (l = 2), by channel."""
    couplings, size = _couplings(a.shape[1]).to(a), CHUNK if a.device.type == "cpu" else len(a)
    done = [
        couplings @ (part.unsqueeze(2) * other.unsqueeze(1)).flatten(1, 2)
        for part, other in zip(a.split(size), b.split(size), strict=True)
    ]
    return torch.cat(done).split([1, 3, 5], dim=1)


@cache
def _couplings(components: int) -> Tensor:
    """Return the 0e+1e+2e of all products of two components of l = 1 or 2 [9, (2l + 1)²]."""
    unit = torch.eye(components, dtype=torch.float64)
    if components == 3:
        matrices = torch.einsum("am,bn->mnab", unit, unit)
    else:
        basis = to_matrices((unit.unsqueeze(2),)).squeeze(3)
        matrices = torch.einsum("mak,nkb->mnab", basis, basis)
    return torch.cat(from_matrices(matrices.flatten(0, 1).unsqueeze(3)), dim=1).squeeze(2).T


class HessianHead(nn.Module):
    """Blocks of a Hessian in eV/Å² from messages between its atoms.

    Args:
        further: Layers between the features and the messages, if any.
        pairs: Messages.
        products: Updates of the messages by what lies between, all of one cutoff. All but the first
            begin as no update.
        cutoff: Longest pair, Å.
        scale: Unit of the blocks, eV/Å².
        decay: How fast the blocks' unit falls with the length, 1/Å.
        diagonal: Whether blocks between an atom and itself are minus the sum of the others, as the
            translation of all atoms demands, instead of a sum of their own.
        invariant: Whether the Hessian is to be made invariant, see `PairBlocks`.
    """

    def __init__(
        self,
        further: FurtherLayers | None,
        pairs: PairMessages,
        products: Sequence[PairProducts],
        cutoff: float,
        scale: float,
        decay: float,
        diagonal: bool,
        invariant: bool,
    ) -> None:
        super().__init__()
        self.cutoff, self.scale, self.decay = cutoff, scale, decay
        self.invariant = invariant
        self.basis = BesselBasis(cutoff, pairs.basis_size)
        self.further, self.pairs = further, pairs
        self.products = nn.ModuleList(products)
        self.linear_off = Linear(pairs.irreps_out, GENERAL)
        self.linear_own = None if diagonal else Linear(pairs.irreps_out, SYMMETRIC)
        returned = [] if diagonal else products
        self.linear_back = nn.ModuleList(OwnMatrix(p.irreps_out) for p in returned)
        for later in (*self.products[1:], *self.linear_back[1:]):
            later.begin_without()

    def forward(self, x: Features, graph: Graph, pairs: Graph) -> PairBlocks:
        """Return the blocks, float64.

        Args:
            x: Features of the atoms [N, 2l + 1, channels] per irrep.
            graph: Graph that they were made with.
            pairs: Pairs of atoms up to the cutoff, see `Potential.featurize_pairs`.
        """
        if self.further is not None:
            x = self.further(x, graph)
        vectors = pairs.vectors
        lengths = vectors.norm(dim=1)
        harmonics = spherical_harmonics(self.pairs.lmax, vectors / lengths.unsqueeze(1))
        basis = self.basis(lengths) * (self.cutoff / 2)  # sin(k r) / r, of order one
        messages = self.pairs(x, basis.to(x[0]), harmonics.to(x[0]), pairs)
        returned = []
        for product in self.products:
            messages, own = product(messages, lengths, pairs)
            returned.append(own)
        envelope = self.scale * polynomial_envelope(lengths, self.cutoff)
        envelope = envelope * torch.exp(-self.decay * (lengths - 1))
        off = _blocks(self.linear_off(messages), envelope)
        diagonal = self._diagonal(messages, returned, off, envelope, pairs)
        return PairBlocks(pairs=pairs, diagonal=diagonal, off=off, invariant=self.invariant)

    def _diagonal(
        self,
        messages: Features,
        returned: Sequence[Features],
        off: Tensor,
        envelope: Tensor,
        pairs: Graph,
    ) -> Tensor:
        n_atoms = len(pairs.species)
        if self.linear_own is None:
            rows = scatter_sum(off, pairs.center, n_atoms, pairs.pointers)
            return -(rows + scatter_sum(off.mT, pairs.neighbor, n_atoms)) / 2
        own = _blocks(self.linear_own(messages), envelope)
        diagonal = scatter_sum(own, pairs.center, n_atoms, pairs.pointers)
        for linear, x in zip(self.linear_back, returned, strict=True):
            diagonal = diagonal + self.scale * to_matrices(linear(x)).squeeze(3).double()
        return diagonal


class OwnMatrix(nn.Module):
    """Symmetric matrix of an atom from what returned to it: linear, gate, linear."""

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        wide = tuple(Irrep(2 * irreps[0].channels, *irrep.kind) for irrep in SYMMETRIC)
        self.gate = Gate(wide)
        self.first, self.last = Linear(irreps, self.gate.irreps_in), Linear(wide, SYMMETRIC)

    def begin_without(self) -> None:
        """Return zero until it is trained."""
        for weight in self.last.weights:
            nn.init.zeros_(weight)

    def forward(self, x: Features) -> Features:
        """Return features [N, 2l + 1, 1] of degrees 0 and 2."""
        return self.last(self.gate(self.first(x)))


def _blocks(x: Features, envelope: Float[Tensor, " E"]) -> Float[Tensor, "E 3 3"]:
    return to_matrices(x).squeeze(3).double() * envelope[:, None, None]
