"""Features of pairs of atoms, and of atoms with themselves, that blocks of orbitals are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import sqrt

import torch
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

    Products of independent features of unit variance have unit variance.

    Args:
        irreps: Irreps of both factors; degrees above `FACTORS` are not multiplied.
        irreps_out: Irreps, of which those that can be made are.
    """

    def __init__(self, irreps: Irreps, irreps_out: Irreps) -> None:
        super().__init__()
        self.count = sum(irrep.l <= FACTORS for irrep in irreps)
        self.layers, self.scales = nn.ModuleList(), list[list[float]]()
        made: list[Irrep] = []
        # A sum of degrees that is odd has the parity that is not natural.
        for name, odd in (("gaunt", 0), ("vector", 1)):
            wanted = {i.l for i in irreps_out if i.p == (-1) ** (i.l + odd)}
            if paths := _paths(self.count, wanted, odd):
                self.layers.append(feature_product(name, paths))
                degrees = sorted({l3 for *_, l3 in paths})
                self.scales.append([_scale(name, paths, degree) for degree in degrees])
                kinds = [(degree, (-1) ** (degree + odd)) for degree in degrees]
                made += [Irrep(irreps[0].channels, *kind) for kind in kinds]
        self.irreps_out: Irreps = tuple(made)

    def forward(self, x: Features, y: Features) -> Features:
        """Return features of `irreps_out` [N, 2l + 1, channels]."""
        x, y = x[: self.count], y[: self.count]
        return tuple(
            part * scale
            for layer, scales in zip(self.layers, self.scales, strict=True)
            for part, scale in zip(layer(x, y), scales, strict=True)
        )


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


class AtomFeatures(nn.Module):
    """Features of atoms of any parity, from what neighbours send and what the atom has itself.

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
        self.radial = ScalarMLP((*radial_widths, self.convolution.weight_numel))
        parts = (sent, self.convolution.irreps_out, self.product.irreps_out)
        self.linear_out = Linear(_joined_irreps(*parts), self.gate.irreps_in)
        self.last, self.norm = Linear(irreps_out, irreps_out), EquivariantNorm(irreps_out, 1.0)
        self.parts = parts

    def forward(self, x: Features, basis: Tensor, harmonics: Tensor, graph: Graph) -> Features:
        """Return features [N, 2l + 1, channels]."""
        own = self.linear_in(x)
        sent = self.convolution(own, harmonics, self.radial(basis), graph)
        received = tuple(part / self.neighbor_norm for part in sent)
        joined = _joined(self.parts, (own, received, self.product(own, own)))
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
        a = tuple(part[pairs.center] for part in self.center(x))
        b = tuple(part[pairs.neighbor] for part in self.neighbor(x))
        both = tuple(map(torch.add, a, b))
        coupled = self.convolution(both, harmonics, by_path, one_edge_each(pairs))
        weighted = tuple(part * by_channel.unsqueeze(1) for part in a)
        joined = _joined(self.parts, (coupled, self.product(weighted, b)))
        return self.norm(self.last(self.gate(self.linear_out(joined))))

    def _weights(self, scalars: Tensor, basis: Tensor, pairs: Graph) -> tuple[Tensor, ...]:
        """Return the weights of the convolution and of the products, one row per pair."""
        center, neighbor = self.scalars(scalars).chunk(2, dim=1)
        known = self.radial(basis) + center[pairs.center] + neighbor[pairs.neighbor]
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
