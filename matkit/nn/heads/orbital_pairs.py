"""Features of pairs of atoms, and of atoms with themselves, that blocks of orbitals are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.graph import Graph
from matkit.nn.equivariant import Features, Gate, Linear, ScalarMLP, normalized_silu
from matkit.nn.heads.hessian import one_edge_each
from matkit.nn.irreps import Irrep, Irreps
from matkit.nn.kernels import Convolution
from matkit.nn.mixing import EquivariantNorm
from matkit.nn.products import factor, feature_product

# Highest degree of the factors of a product; the result goes up to twice as high.
FACTORS = 2


class EndProducts(nn.Module):
    """Products of two features of natural parity, channel by channel, all kinds that are asked for.

    They are those of `matkit.nn.products` on a sphere, as one table: for so few degrees one matrix
    product is faster. Products of independent features of unit variance have unit variance.

    Args:
        irreps: Irreps of both factors; degrees above `FACTORS` are not multiplied.
        irreps_out: Irreps, of which those that can be made are.
    """

    table: Tensor

    def __init__(self, irreps: Irreps, irreps_out: Irreps) -> None:
        super().__init__()
        self.irreps_in: Irreps = tuple(irrep for irrep in irreps if irrep.l <= FACTORS)
        degrees = [irrep.l for irrep in self.irreps_in]
        self.dim = sum(2 * degree + 1 for degree in degrees)
        tables, made = list[Tensor](), list[Irrep]()
        # A sum of degrees that is odd has the parity that is not natural.
        for name, odd in (("gaunt", 0), ("vector", 1)):
            wanted = {i.l for i in irreps_out if i.p == (-1) ** (i.l + odd)}
            if paths := _paths(len(degrees), wanted, odd):
                tables.append(_table(name, paths, degrees))
                targets = sorted({l3 for *_, l3 in paths})
                made += [Irrep(irreps[0].channels, l3, (-1) ** (l3 + odd)) for l3 in targets]
        self.register_buffer("table", torch.cat(tables), persistent=False)
        self.irreps_out: Irreps = tuple(made)

    def forward(self, x: Tensor, y: Tensor) -> Features:
        """Return features of `irreps_out` [N, 2l + 1, channels].

        Args:
            x: All components of the degrees 0, 1, ... [N, (lmax + 1)², channels].
            y: The same, of the other factor.
        """
        x, y = x[:, : self.dim], y[:, : self.dim]
        pairs = (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1, 2)
        return (self.table.to(x) @ pairs).split([irrep.dim for irrep in self.irreps_out], dim=1)


def _paths(count: int, wanted: set[int], odd: int) -> list[tuple[int, int, int]]:
    """Return the couplings of `count` degrees into wanted ones, with an odd or even sum."""
    return [
        (l1, l2, l3)
        for l1, l2 in product(range(count), repeat=2)
        for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        if l3 in wanted and (l1 + l2 + l3) % 2 == odd
    ]


@cache
def _factor(name: str, path: tuple[int, int, int]) -> float:
    return factor(name, path)


def _scale(name: str, paths: Sequence[tuple[int, int, int]], degree: int) -> float:
    """Return what gives the result of a degree unit variance: its paths are independent."""
    return 1 / sqrt(sum(_factor(name, path) ** 2 for path in paths if path[2] == degree))


def _table(
    name: str, paths: Sequence[tuple[int, int, int]], degrees: Sequence[int]
) -> Float[Tensor, "K MM"]:
    """Return every component of the result for every two components of the factors, float64."""
    sizes = [2 * degree + 1 for degree in degrees]
    ones = torch.eye(sum(sizes), dtype=torch.float64)
    x, y = ones.repeat_interleave(len(ones), 0), ones.repeat(len(ones), 1)
    parts = feature_product(name, paths)(
        *(factors.unsqueeze(2).split(sizes, dim=1) for factors in (x, y))
    )
    targets = sorted({l3 for *_, l3 in paths})
    scaled = (
        part * _scale(name, paths, degree) for part, degree in zip(parts, targets, strict=True)
    )
    return torch.cat(list(scaled), dim=1).squeeze(2).T


class AtomFeatures(nn.Module):
    """Features of atoms of any parity, from what neighbours send and what the atom has itself.

    That is two linear maps of its features, and their products.

    Args:
        irreps: Irreps of the atoms' features.
        irreps_out: Irreps of the result, even scalars first.
        radial_widths: Input and hidden sizes of the radial map.
        lmax: Highest degree of the harmonics.
        neighbor_norm: Sums over neighbours are divided by this.
    """

    def __init__(
        self,
        irreps: Irreps,
        irreps_out: Irreps,
        radial_widths: tuple[int, ...],
        lmax: int,
        neighbor_norm: float,
    ) -> None:
        super().__init__()
        sent = tuple(Irrep(irreps_out[0].channels, *irrep.kind) for irrep in irreps)
        self.neighbor_norm, self.gate = neighbor_norm, Gate(irreps_out)
        self.linear_in = Linear(irreps, sent)
        self.convolution = Convolution(sent, lmax, irreps_out, True)
        self.product = EndProducts(sent, irreps_out)
        self.factor = Linear(irreps, self.product.irreps_in)
        self.radial = ScalarMLP((*radial_widths, self.convolution.weight_numel))
        parts = (sent, self.convolution.irreps_out, self.product.irreps_out)
        self.linear_out = Linear(_joined_irreps(*parts), self.gate.irreps_in)
        self.last, self.norm = Linear(irreps_out, irreps_out), EquivariantNorm(irreps_out, 1.0)
        self.parts = parts

    def forward(self, x: Features, basis: Tensor, harmonics: Tensor, graph: Graph) -> Features:
        """Return features [N, 2l + 1, channels]."""
        own = self.linear_in(x)
        received = self.convolution(own, harmonics / self.neighbor_norm, self.radial(basis), graph)
        product = self.product(torch.cat(own, dim=1), torch.cat(self.factor(x), dim=1))
        joined = _joined(self.parts, (own, received, product))
        return self.norm(self.last(self.gate(self.linear_out(joined))))


class PairFeatures(nn.Module):
    """Features of pairs, from both ends coupled with the direction, and with each other.

    With features a of the centre and b of the neighbour, both mapped linearly, they are
    ``g((a + b) ⊗ Y_ij, w a b)``, a gate g of a linear map. A perceptron of the
    distance and of both ends' scalars weighs every channel of every coupling.

    Args:
        irreps: Irreps of the atoms' features.
        irreps_out: Irreps of the result, even scalars first.
        basis_size: Number of radial functions.
        lmax: Highest degree of the harmonics.
    """

    def __init__(self, irreps: Irreps, irreps_out: Irreps, basis_size: int, lmax: int) -> None:
        super().__init__()
        channels = irreps_out[0].channels
        sent = tuple(Irrep(channels, *irrep.kind) for irrep in irreps)
        self.gate = Gate(irreps_out)
        self.dims = [irrep.dim for irrep in irreps]
        self.center, self.neighbor = Linear(irreps, sent), Linear(irreps, sent)
        self.convolution = Convolution(sent, lmax, irreps_out, True)
        self.product = EndProducts(sent, irreps_out)
        self.scalars = ScalarMLP((irreps[0].channels, 2 * channels))
        self.radial = ScalarMLP((basis_size, channels))
        self.sizes = [self.convolution.weight_numel, channels]
        self.weights = ScalarMLP((channels, 2 * channels, sum(self.sizes)))
        self.parts = (self.convolution.irreps_out, self.product.irreps_out)
        self.linear_out = Linear(_joined_irreps(*self.parts), self.gate.irreps_in)
        self.last, self.norm = Linear(irreps_out, irreps_out), EquivariantNorm(irreps_out, 1.0)

    def forward(self, x: Features, basis: Tensor, harmonics: Tensor, pairs: Graph) -> Features:
        """Return features [E, 2l + 1, channels].

        Args:
            x: Features of the atoms [N, 2l + 1, channels] per irrep.
            basis: Radial functions [E, basis_size].
            harmonics: Y of the pairs [E, (lmax + 1)²].
            pairs: Pairs.
        """
        by_path, by_channel = self._weights(x[0].squeeze(1), basis, pairs)
        a = torch.cat(self.center(x), dim=1).index_select(0, pairs.center)
        b = torch.cat(self.neighbor(x), dim=1).index_select(0, pairs.neighbor)
        both = tuple(part.contiguous() for part in (a + b).split(self.dims, dim=1))
        coupled = self.convolution(both, harmonics, by_path, one_edge_each(pairs))
        product = self.product(a * by_channel.unsqueeze(1), b)
        joined = _joined(self.parts, (coupled, product))
        return self.norm(self.last(self.gate(self.linear_out(joined))))

    def _weights(self, scalars: Tensor, basis: Tensor, pairs: Graph) -> tuple[Tensor, ...]:
        """Return the weights of the convolution and of the products, one row per pair."""
        center, neighbor = self.scalars(scalars).chunk(2, dim=1)
        ends = center.index_select(0, pairs.center) + neighbor.index_select(0, pairs.neighbor)
        known = self.radial(basis) + ends
        return self.weights(normalized_silu(known / sqrt(3))).split(self.sizes, dim=1)


def _joined_irreps(*parts: Irreps) -> Irreps:
    """Return irreps with the channels of all parts of the same kind behind each other."""
    channels: dict[tuple[int, int], int] = {}
    for irrep in (irrep for part in parts for irrep in part):
        channels[irrep.kind] = channels.get(irrep.kind, 0) + irrep.channels
    return tuple(Irrep(count, *kind) for kind, count in channels.items())


def _joined(parts: tuple[Irreps, ...], features: tuple[Features, ...]) -> Features:
    """Return features of `_joined_irreps`."""
    found: dict[tuple[int, int], list[Tensor]] = {}
    for irreps, x in zip(parts, features, strict=True):
        for irrep, part in zip(irreps, x, strict=True):
            found.setdefault(irrep.kind, []).append(part)
    return tuple(torch.cat(same, dim=2) for same in found.values())
