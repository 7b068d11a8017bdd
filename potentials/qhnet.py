"""QHNet: the Kohn-Sham matrix of a molecule from an equivariant network (Yu et al., ICML 2023).

Atoms carry features of degrees up to lmax and exchange messages. After the last layers features of
every pair of atoms are made from those of both ends, and features of every atom with itself; their
sums over the layers are expanded to blocks over the orbitals of two atoms, with weights that depend
on the elements. The matrix is a sum S + Sᵀ: it is symmetric, and turns with the molecule as its
orbitals do. (https://arxiv.org/abs/2306.04922)

Deviations: true parities, so that it is exact under reflections too; features of pairs also see the
direction between the atoms, by the convolution that atoms have; products of both ends are taken on
a sphere, all couplings into a degree together; one cutoff for messages and pairs; orbitals are in
the order of the network's harmonics (`matkit.hamiltonians.orders`), so that no axis is permuted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import HamiltonianModel, Properties
from matkit.nn.arguments import check_positive
from matkit.nn.embedding import SpeciesEmbedding, SpeciesIndex
from matkit.nn.heads.orbital_blocks import OrbitalBlocks, block_irreps
from matkit.nn.heads.orbital_pairs import AtomFeatures, PairFeatures
from matkit.nn.interaction import ResidualInteraction
from matkit.nn.irreps import Irrep, Irreps, spherical_harmonics
from matkit.nn.kernels import Convolution
from matkit.nn.layered import check_domain
from matkit.nn.mixing import EquivariantNorm, GateMixer
from matkit.nn.radial import BesselBasis, polynomial_envelope
from matkit.orbitals import check_shells, common_rows, common_shells, orbital_count
from matkit.pair_blocks import PairBlocks, species_widths
from matkit.structures import Structures


class QHNet(HamiltonianModel):
    """Network that predicts Kohn-Sham matrices.

    Args:
        species: Atomic numbers.
        shells: Degrees of the shells of every element, lowest first; see `check_shells`.
        lmax: Highest degree of features and harmonics.
        channels: Channels of every degree of an atom's features.
        layers: Layers of messages.
        pair_layers: How many of them, the last, are followed by features of pairs.
        pair_channels: Channels of the features of pairs.
        cutoff: Longest edge, and longest pair of atoms with a block, Å.
        basis_size: Radial functions.
        radial_hidden: Hidden size of the radial maps.
        neighbor_norm: Sums over neighbours are divided by this.
        unit: Unit of the blocks, eV.
        decay: How fast that unit falls with the distance of two atoms, 1/Å.

    Raises:
        ConfigError: an argument is out of range, or the shells are not those of the species.
    """

    rows: Tensor

    def __init__(
        self,
        species: Sequence[int],
        shells: Mapping[Any, Sequence[int]],
        lmax: int = 4,
        channels: int = 64,
        layers: int = 4,
        pair_layers: int = 2,
        pair_channels: int = 32,
        cutoff: float = 8.0,
        basis_size: int = 16,
        radial_hidden: int = 64,
        neighbor_norm: float = 5.0,
        unit: float = 5.0,
        decay: float = 0.0,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        self.shells = check_shells(shells)
        if set(self.shells) != set(species):
            raise ConfigError(
                f"Expected `shells` of the species {sorted(species)}, got {sorted(self.shells)}."
            )
        check_positive(
            channels=channels, pair_channels=pair_channels, neighbor_norm=neighbor_norm, unit=unit
        )
        common = common_shells(self.shells)
        if not 1 <= pair_layers <= layers or lmax < 2 * max(common):
            raise ConfigError(
                f"Expected `pair_layers` from 1 to `layers` and an `lmax` of at least "
                f"{2 * max(common)}, twice the highest shell; got {pair_layers} of {layers}, and "
                f"{lmax}."
            )
        self.species, self.cutoff = tuple(species), float(cutoff)
        self.pair_cutoff, self.lmax = self.cutoff, lmax
        self.unit, self.decay, self.pair_layers = unit, decay, pair_layers
        self.index = SpeciesIndex(self.species)
        self.embedding = SpeciesEmbedding(len(species), channels)
        self.basis = BesselBasis(cutoff, basis_size)
        natural = tuple(Irrep(channels, degree, (-1) ** degree) for degree in range(lmax + 1))
        radial = basis_size, radial_hidden
        self.interactions = nn.ModuleList(
            _layer(natural[:1] if t == 0 else natural, natural, radial, neighbor_norm)
            for t in range(layers)
        )
        between, within = (block_irreps(common, pair_channels, pairs) for pairs in (True, False))
        self.pairs = nn.ModuleList(
            PairFeatures(natural, between, basis_size, lmax) for _ in range(pair_layers)
        )
        self.atoms = nn.ModuleList(
            AtomFeatures(natural, within, radial, lmax, neighbor_norm) for _ in range(pair_layers)
        )
        self.own_blocks = OrbitalBlocks(common, pair_channels, len(species), pairs=False)
        self.pair_blocks = OrbitalBlocks(common, pair_channels, len(species), pairs=True)
        rows = common_rows(self.shells)
        width = max(map(len, rows.values()))
        table = [rows[z] + [0] * (width - len(rows[z])) for z in self.species]
        self.register_buffer("rows", torch.tensor(table), persistent=False)
        self.widths = {z: orbital_count(degrees) for z, degrees in self.shells.items()}

    def begin_with(self, structures: Structures) -> None:
        """Set the mean blocks of every element with itself to those of a training set."""
        size, index = self.own_blocks.size, self.index(structures.species)
        means = torch.zeros(len(self.species), size, size, dtype=torch.float64)
        widths = species_widths(structures.species, self.widths)
        # Where the columns of an atom begin within those of its molecule.
        before = torch.cumsum(widths, 0) - widths
        columns = before - before[structures.offsets[structures.batch]]
        for which, z in enumerate(self.species):
            atoms, width = torch.nonzero(index == which).squeeze(1), self.widths[z]
            if not len(atoms):
                continue
            axis = columns[atoms, None] + torch.arange(width, device=atoms.device)
            rows = structures.atom["hamiltonian"][atoms, :width]
            mean = rows.gather(2, axis.unsqueeze(1).expand(-1, width, -1)).mean(0)
            place = self.rows[which, :width]
            means[which, place[:, None], place] = mean.double()
        self.own_blocks.begin_with(means / self.unit)

    def forward(self, graph: Graph) -> Properties:
        """Return the Kohn-Sham matrices in eV, float64, in the order of `orders`."""
        own, pairs = self._features(graph)
        index = self.index(graph.species)
        first, second = index[graph.center], index[graph.neighbor]
        lengths = graph.vectors.norm(dim=1)
        envelope = polynomial_envelope(lengths, self.cutoff) * torch.exp(-self.decay * lengths)
        diagonal = self.own_blocks(own, index).double()
        off = self.pair_blocks(pairs, first * len(self.species) + second).double()
        off = off * envelope[:, None, None]
        blocks = PairBlocks(
            pairs=graph,
            diagonal=self.unit * self._own_rows(diagonal, index, index),
            off=self.unit * self._own_rows(off, first, second),
            widths=species_widths(graph.species, self.widths),
        )
        return {"hamiltonian": blocks}

    def _features(self, graph: Graph) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the features of atoms and of pairs that blocks are made of."""
        vectors = graph.vectors
        lengths = vectors.norm(dim=1)
        index = self.index(graph.species)
        x: tuple[Tensor, ...] = (self.embedding(index) * sqrt(len(self.species)),)
        harmonics = spherical_harmonics(self.lmax, vectors / lengths.unsqueeze(1)).to(x[0])
        # Bessel functions are normalised over the sphere; this makes their mean square one.
        envelope = polynomial_envelope(lengths, self.cutoff) * (self.cutoff**2 / sqrt(6))
        basis = (self.basis(lengths) * envelope.unsqueeze(1)).to(x[0])
        close = (self.basis(lengths) * (self.cutoff / 2)).to(x[0])  # sin(k r) / r, of order one
        own: list[tuple[Tensor, ...]] = []
        pairs: list[tuple[Tensor, ...]] = []
        quiet = len(self.interactions) - self.pair_layers
        for t, layer in enumerate(self.interactions):
            x = layer(x, index, basis, harmonics, graph)
            if t >= quiet:
                own.append(self.atoms[t - quiet](x, basis, harmonics, graph))
                pairs.append(self.pairs[t - quiet](x, close, harmonics, graph))
        return _sums(own), _sums(pairs)

    def _own_rows(
        self, blocks: Float[Tensor, "E a a"], first: Int[Tensor, " E"], second: Int[Tensor, " E"]
    ) -> Float[Tensor, "E w w"]:
        """Return the rows and columns of blocks that are orbitals of both elements."""
        rows, columns = self.rows[first], self.rows[second]
        size = blocks.shape[2]
        taken = blocks.gather(1, rows.unsqueeze(2).expand(-1, -1, size))
        return taken.gather(2, columns.unsqueeze(1).expand(-1, rows.shape[1], -1))


def _layer(
    irreps: Irreps, natural: Irreps, radial: tuple[int, int], neighbor_norm: float
) -> ResidualInteraction:
    mixer, norm = GateMixer(natural), EquivariantNorm(natural, 1.0)
    convolution = Convolution(irreps, natural[-1].l, mixer.irreps_in, True)
    return ResidualInteraction(convolution, mixer, norm, radial, neighbor_norm)


def _sums(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(reduce(torch.add, same) for same in zip(*parts, strict=True))
