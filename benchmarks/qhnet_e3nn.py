"""QHNet from e3nn's parts with the weights of matkit's: for its speed, and as an oracle.

Linear maps, tensor products, gates, perceptrons and harmonics are e3nn's, messages are scattered,
and blocks are expanded by `e3nn.o3.wigner_3j`, path after path. Features are flat, channels first.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
from e3nn import o3
from e3nn.nn import FullyConnectedNet, Gate
from torch import Tensor, nn
from torch.nn.functional import silu

from matkit.graph import Graph
from matkit.nn import equivariant
from matkit.nn.heads.orbital_blocks import OrbitalBlocks, block_paths
from matkit.nn.heads.orbital_pairs import AtomFeatures, EndProducts, PairFeatures
from matkit.nn.interaction import ResidualInteraction
from matkit.nn.irreps import Irreps
from matkit.nn.kernels import Convolution
from matkit.nn.mixing import EquivariantNorm
from matkit.nn.products import factor
from matkit.nn.radial import polynomial_envelope
from matkit.orbitals import orbital_count
from matkit.pair_blocks import PairBlocks, species_widths
from matkit.potentials.qhnet import QHNet


class E3nnQHNet(nn.Module):
    """The network.

    Args:
        network: Whose layers and weights it takes.
        shells: Its common shells.
    """

    def __init__(self, network: QHNet, shells: tuple[int, ...]) -> None:
        super().__init__()
        self.own = network  # embedding, radial functions and sizes, and what picks rows of blocks
        self.interactions = nn.ModuleList(map(Interaction, network.interactions))
        irreps = network.interactions[-1].norm.irreps
        self.atoms = nn.ModuleList(Atoms(layer, irreps) for layer in network.atoms)
        self.pairs = nn.ModuleList(Pairs(layer, irreps) for layer in network.pairs)
        self.own_blocks = Expansion(network.own_blocks, shells)
        self.pair_blocks = Expansion(network.pair_blocks, shells)

    def forward(self, graph: Graph) -> dict[str, PairBlocks]:
        own, lengths = self.own, graph.vectors.norm(dim=1)
        index = own.index(graph.species)
        x = self.own.embedding(index).squeeze(1) * sqrt(len(own.species))
        degrees = list(range(own.lmax + 1))
        y = o3.spherical_harmonics(degrees, graph.vectors, True, "component").to(x)
        envelope = polynomial_envelope(lengths, own.cutoff)
        basis = (own.basis(lengths) * (envelope * own.cutoff**2 / sqrt(6)).unsqueeze(1)).to(x)
        close = (own.basis(lengths) * (own.cutoff / 2)).to(x)
        of_atoms, of_pairs = 0, 0
        quiet = len(self.interactions) - own.pair_layers
        for t, layer in enumerate(self.interactions):
            x = layer(x, basis, y, graph)
            if t >= quiet:
                of_atoms = of_atoms + self.atoms[t - quiet](x, basis, y, graph)
                of_pairs = of_pairs + self.pairs[t - quiet](x, close, y, graph)
        first, second = index[graph.center], index[graph.neighbor]
        diagonal = self.own_blocks(of_atoms, index).double()
        off = self.pair_blocks(of_pairs, first * len(own.species) + second).double()
        off = off * (envelope * torch.exp(-own.decay * lengths))[:, None, None]
        blocks = PairBlocks(
            pairs=graph,
            diagonal=own.unit * own._own_rows(diagonal, index, index),
            off=own.unit * own._own_rows(off, first, second),
            widths=species_widths(graph.species, own.widths),
        )
        return {"hamiltonian": blocks}


class Interaction(nn.Module):
    def __init__(self, layer: ResidualInteraction) -> None:
        super().__init__()
        self.self_connection = linear(layer.self_connection, layer.convolution.irreps_in)
        self.radial, self.convolution = perceptron(layer.radial), product(layer.convolution)
        self.gate = gate(layer.mixer.gate)
        self.linear_out = linear(
            layer.linear_out, layer.convolution.irreps_out, self.gate.irreps_in
        )
        self.linear = linear(layer.mixer.linear, layer.norm.irreps)
        self.norm = Norm(layer.norm)
        self.neighbor_norm = layer.neighbor_norm

    def forward(self, x: Tensor, basis: Tensor, y: Tensor, graph: Graph) -> Tensor:
        sent = self.convolution(x[graph.neighbor], y, self.radial(basis))
        mixed = plus(
            self.linear_out(scatter(sent, graph) / self.neighbor_norm), self.self_connection(x)
        )
        return plus(self.norm(self.linear(self.gate(mixed))), x)


class Atoms(nn.Module):
    def __init__(self, layer: AtomFeatures, irreps: Irreps) -> None:
        super().__init__()
        own, received, products = layer.parts
        self.linear_in, self.factor = linear(layer.linear_in, irreps), linear(layer.factor, irreps)
        self.radial, self.convolution = perceptron(layer.radial), product(layer.convolution)
        self.product = EndProduct(layer.product)
        self.join = Join(own, received, products)
        self.gate = gate(layer.gate)
        self.linear_out = linear(layer.linear_out, self.join.irreps, self.gate.irreps_in)
        self.last, self.norm = linear(layer.last, layer.norm.irreps), Norm(layer.norm)
        self.neighbor_norm = layer.neighbor_norm

    def forward(self, x: Tensor, basis: Tensor, y: Tensor, graph: Graph) -> Tensor:
        own = self.linear_in(x)
        sent = self.convolution(own[graph.neighbor], y, self.radial(basis))
        received = scatter(sent, graph) / self.neighbor_norm
        joined = self.join(own, received, self.product(own, self.factor(x)))
        return self.norm(self.last(self.gate(self.linear_out(joined))))


class Pairs(nn.Module):
    def __init__(self, layer: PairFeatures, irreps: Irreps) -> None:
        super().__init__()
        self.center, self.neighbor = linear(layer.center, irreps), linear(layer.neighbor, irreps)
        self.convolution, self.product = product(layer.convolution), EndProduct(layer.product)
        self.scalars, self.radial = perceptron(layer.scalars), perceptron(layer.radial)
        self.weights, self.sizes = perceptron(layer.weights), layer.sizes
        self.join = Join(*layer.parts)
        self.gate = gate(layer.gate)
        self.linear_out = linear(layer.linear_out, self.join.irreps, self.gate.irreps_in)
        self.last, self.norm = linear(layer.last, layer.norm.irreps), Norm(layer.norm)
        self.n_scalars = irreps[0].channels

    def forward(self, x: Tensor, basis: Tensor, y: Tensor, graph: Graph) -> Tensor:
        center, neighbor = self.scalars(x[:, : self.n_scalars]).chunk(2, dim=1)
        known = self.radial(basis) + center[graph.center] + neighbor[graph.neighbor]
        weights = self.weights(equivariant.normalized_silu(known / sqrt(3)))
        by_path, by_channel = weights.split(self.sizes, dim=1)
        a, b = self.center(x)[graph.center], self.neighbor(x)[graph.neighbor]
        joined = self.join(self.convolution(a + b, y, by_path), self.product(a, b, by_channel))
        return self.norm(self.last(self.gate(self.linear_out(joined))))


class EndProduct(nn.Module):
    """Products channel by channel, one weight per path and channel."""

    def __init__(self, layer: EndProducts) -> None:
        super().__init__()
        ends, channels = layer.irreps_in, layer.irreps_in[0].channels
        paths, weights = [], []
        for k, irrep in enumerate(layer.irreps_out):
            kinds = [
                (a.l, b.l, irrep.l)
                for a in ends
                for b in ends
                if abs(a.l - b.l) <= irrep.l <= a.l + b.l and a.p * b.p == irrep.p
            ]
            names = ["gaunt" if sum(kind) % 2 == 0 else "vector" for kind in kinds]
            factors = torch.tensor([factor(n, kind) for n, kind in zip(names, kinds, strict=True)])
            paths += [(l1, l2, k, "uuu", True) for l1, l2, _ in kinds]
            weights.append(factors / factors.norm())
        self.dim = sum(irrep.dim * channels for irrep in ends)
        self.product = o3.TensorProduct(
            text(ends), text(ends), text(layer.irreps_out), paths, path_normalization="none",
            internal_weights=False, shared_weights=False,
        )  # fmt: skip
        self.register_buffer("factors", torch.cat(weights)[:, None].double())
        self.channels = channels

    def forward(self, x: Tensor, y: Tensor, by_channel: Tensor | None = None) -> Tensor:
        if by_channel is None:
            by_channel = x.new_ones(len(x), self.channels)
        weights = (self.factors.to(x) * by_channel.unsqueeze(1)).flatten(1)
        return self.product(x[:, : self.dim], y[:, : self.dim], weights)


class Join(nn.Module):
    """Puts channels of the same kind behind each other."""

    def __init__(self, *parts: Irreps) -> None:
        super().__init__()
        self.pieces: dict[tuple[int, int], list[tuple[int, slice]]] = {}
        channels: dict[tuple[int, int], int] = {}
        for i, irreps in enumerate(parts):
            begin = 0
            for irrep in irreps:
                size = irrep.channels * irrep.dim
                self.pieces.setdefault(irrep.kind, []).append((i, slice(begin, begin + size)))
                channels[irrep.kind] = channels.get(irrep.kind, 0) + irrep.channels
                begin += size
        self.irreps = [(n, kind) for kind, n in channels.items()]

    def forward(self, *x: Tensor) -> Tensor:
        return torch.cat([x[i][:, s] for same in self.pieces.values() for i, s in same], dim=1)


class Norm(nn.Module):
    def __init__(self, norm: EquivariantNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        sizes = [irrep.channels * irrep.dim for irrep in self.norm.irreps]
        scalars, rest = x.split([sizes[0], sum(sizes[1:])], dim=1)
        scalars = scalars - scalars.mean(dim=1, keepdim=True)
        factors = (
            torch.rsqrt(self.norm.offset + part.square().mean(dim=1, keepdim=True))
            for part in (scalars, rest)
        )
        weights = [
            weight.repeat_interleave(irrep.dim)
            for weight, irrep in zip(self.norm.weights, self.norm.irreps, strict=True)
        ]
        parts = zip((scalars, rest), factors, (weights[0], torch.cat(weights[1:])), strict=True)
        return torch.cat([part * scale * weight for part, scale, weight in parts], dim=1)


class Expansion(nn.Module):
    """Blocks from features, a product with 3j symbols for every path."""

    def __init__(self, blocks: OrbitalBlocks, shells: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = blocks
        first = [orbital_count(shells[:i]) for i in range(len(shells) + 1)]
        rows = [slice(*pair) for pair in pairwise(first)]
        # For every irrep, where each of its paths goes.
        self.places: list[list[tuple[slice, slice]]] = [[] for _ in blocks.irreps]
        kinds = [irrep.kind for irrep in blocks.irreps]
        for i, j, l3 in block_paths(shells, blocks.pairs):
            n = kinds.index((l3, (-1) ** (shells[i] + shells[j])))
            symbol = o3.wigner_3j(shells[i], shells[j], l3, dtype=torch.float64)
            name = f"symbol_{n}_{len(self.places[n])}"
            self.register_buffer(name, symbol * sqrt(2 * l3 + 1))
            self.places[n].append((rows[i], rows[j]))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        own, channels = self.blocks, self.blocks.irreps[0].channels
        sizes = [channels * count for count in own.paths]
        weights = (own._weights() / sqrt(channels))[index].split(sizes, dim=1)
        bias = own.bias[index]
        features = x.split([channels * irrep.dim for irrep in own.irreps], dim=1)
        found = x.new_zeros(len(x), own.size, own.size)
        for n, (part, weight) in enumerate(zip(features, weights, strict=True)):
            part, weight = part.unflatten(1, (channels, -1)), weight.unflatten(1, (channels, -1))
            for m, (rows, columns) in enumerate(self.places[n]):
                mixed = torch.einsum("ncm,nc->nm", part, weight[:, :, m])
                if n == 0:
                    mixed = mixed + bias[:, m : m + 1]
                symbol = self.get_buffer(f"symbol_{n}_{m}").to(x)
                block = torch.einsum("nm,ijm->nij", mixed, symbol)
                found[:, rows, columns] = found[:, rows, columns] + block
        return found


def text(irreps: Irreps) -> o3.Irreps:
    return o3.Irreps([(irrep.channels, irrep.kind) for irrep in irreps])


def linear(
    layer: equivariant.Linear, irreps_in: Irreps | list, order: o3.Irreps | None = None
) -> o3.Linear:
    """Return the layer, its irreps in another order if it is given."""
    if not isinstance(irreps_in, list):
        irreps_in = [(irrep.channels, irrep.kind) for irrep in irreps_in]
    weights = {
        irreps_in[source][1]: weight
        for source, weight in zip(layer.source, layer.weights, strict=True)
    }
    outputs = [(weight.shape[1], kind) for kind, weight in weights.items()]
    made = o3.Linear(o3.Irreps(irreps_in), o3.Irreps(outputs) if order is None else order)
    with torch.no_grad():
        for _, instruction, view in made.weight_views(yield_instruction=True):
            irrep = made.irreps_out[instruction.i_out].ir
            view.copy_(weights[irrep.l, irrep.p])
    return made


def product(layer: Convolution) -> o3.TensorProduct:
    outputs = [(path.channels, layer.irreps_out[path.target].kind) for path in layer.paths]
    paths = [(path.source, path.l2, k, "uvu", True) for k, path in enumerate(layer.paths)]
    return o3.TensorProduct(
        text(layer.irreps_in), o3.Irreps.spherical_harmonics(layer.lmax), o3.Irreps(outputs), paths,
        internal_weights=False, shared_weights=False,
    )  # fmt: skip


def perceptron(layer: equivariant.ScalarMLP) -> FullyConnectedNet:
    widths = [len(layer.weights[0]), *(weight.shape[1] for weight in layer.weights)]
    made = FullyConnectedNet(widths, silu)
    with torch.no_grad():
        for weight, mine in zip(made.parameters(), layer.weights, strict=True):
            weight.copy_(mine)
    return made


def gate(layer: equivariant.Gate) -> Gate:
    scalars, gates = o3.Irreps([(layer.scalars, (0, 1))]), o3.Irreps([(sum(layer.gates), (0, 1))])
    gated = o3.Irreps(list(zip(layer.gates, layer.kinds, strict=True)))
    return Gate(scalars, [silu], gates, [silu], gated)


def plus(x: Tensor, y: Tensor) -> Tensor:
    """Return x with y added to its first components."""
    return (
        x + y if x.shape == y.shape else torch.cat([x[:, : y.shape[1]] + y, x[:, y.shape[1] :]], 1)
    )


def scatter(sent: Tensor, graph: Graph) -> Tensor:
    return sent.new_zeros(len(graph.species), sent.shape[1]).index_add(0, graph.center, sent)
