"""From equivariant features to blocks of a matrix over the orbitals of two atoms.

A block of two shells of degrees l1 and l2 is the sum of irreps l3 = |l1 - l2| .. l1 + l2 of parity
(-1)^(l1 + l2). Each is a mixture of the channels of the features of that irrep, with weights that
an embedding of the two elements gives, as in QHNet (Yu et al. 2023,
https://arxiv.org/abs/2306.04922).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.nn.equivariant import Features, ScalarMLP
from matkit.nn.irreps import Irrep, Irreps, wigner_3j
from matkit.orbitals import orbital_count


def block_irreps(shells: Sequence[int], channels: int, pairs: bool = True) -> Irreps:
    """Return the irreps that blocks between shells are made of, even scalars first.

    Args:
        shells: Degrees of the common shells.
        channels: Channels of each irrep.
        pairs: Whether blocks are those of two atoms; see `OrbitalBlocks`.
    """
    kinds = {(l3, (-1) ** (shells[i] + shells[j])) for i, j, l3 in block_paths(shells, pairs)}
    return tuple(Irrep(channels, *kind) for kind in sorted(kinds))


class OrbitalBlocks(nn.Module):
    """Blocks S over all common shells, of a matrix H = S + Sᵀ.

    Args:
        shells: Degrees of the common shells, see `matkit.orbitals.common_shells`.
        channels: Channels of the features.
        n_species: Number of species.
        pairs: Whether blocks are those of two atoms, and their weights depend on both elements.
            Blocks of an atom with itself are symmetric: of them only what does not cancel is made,
            above the diagonal.
        width: Features of a species, and of the hidden layer.
    """

    table: Tensor

    def __init__(
        self, shells: Sequence[int], channels: int, n_species: int, pairs: bool, width: int = 64
    ) -> None:
        super().__init__()
        self.size, self.n_species, self.pairs = orbital_count(shells), n_species, pairs
        self.irreps = block_irreps(shells, channels, pairs)
        tables = [_table(shells, irrep, pairs) for irrep in self.irreps]
        self.register_buffer("table", torch.cat(tables), persistent=False)
        self.paths = [len(t) // i.dim for t, i in zip(tables, self.irreps, strict=True)]
        self.embedding = nn.Parameter(torch.randn(n_species, width))
        inputs, kinds = (2 * width, n_species**2) if pairs else (width, n_species)
        self.weights = ScalarMLP((inputs, width, channels * sum(self.paths)))
        self.bias = nn.Parameter(torch.zeros(kinds, self.paths[0]))

    def forward(self, x: Features, kind: Int[Tensor, " E"]) -> Float[Tensor, "E a a"]:
        """Return blocks, rows of the first atom and columns of the second.

        Args:
            x: Features per irrep of `irreps` [E, 2l + 1, channels].
            kind: Index of the atom's species, or of the pair's, ``first * n_species + second``.
        """
        channels = x[0].shape[2]
        sizes = [channels * count for count in self.paths]
        # Not by brackets, whose derivative sorts the indices.
        rows = (self._weights() / sqrt(channels)).index_select(0, kind)
        weights = rows.split(sizes, dim=1)
        scalars, *mixed = (
            (part @ weight.unflatten(1, (channels, -1))).flatten(1)
            for part, weight in zip(x, weights, strict=True)
        )
        parts = torch.cat([scalars + self.bias.index_select(0, kind), *mixed], dim=1)
        return (parts @ self.table.to(parts)).unflatten(1, (self.size, self.size))

    @torch.no_grad()
    def begin_with(self, means: Float[Tensor, "S a a"]) -> None:
        """Set the biases to what does not turn of the mean blocks of H of every species.

        Args:
            means: Mean block of every species with itself.
        """
        table = self.table[: self.paths[0]].double().unflatten(1, (self.size, self.size))
        both = (table + table.mT).flatten(1)
        self.bias.copy_(means.flatten(1) @ both.T / both.square().sum(1))

    def _weights(self) -> Tensor:
        """Return one row of weights for every species, or for every ordered pair of them."""
        rows: Tensor = self.embedding
        if self.pairs:
            first = rows.repeat_interleave(self.n_species, 0)
            rows = torch.cat([first, rows.repeat(self.n_species, 1)], dim=1)
        return self.weights(rows)


def block_paths(shells: Sequence[int], pairs: bool) -> Iterator[tuple[int, int, int]]:
    """Give two shells, by their places, and each degree that their block has."""
    for (i, l1), (j, l2) in product(enumerate(shells), repeat=2):
        for l3 in range(abs(l1 - l2), l1 + l2 + 1):
            # Odd degrees of a shell with itself are antisymmetric.
            if pairs or i < j or (i == j and l3 % 2 == 0):
                yield i, j, l3


def _table(shells: Sequence[int], irrep: Irrep, pairs: bool) -> Float[Tensor, "m_paths aa"]:
    """Return what every component of every path adds to a block [(2l + 1) paths, a²], float64."""
    size = orbital_count(shells)
    first = [orbital_count(shells[:i]) for i in range(len(shells) + 1)]
    blocks = []
    for i, j, l3 in block_paths(shells, pairs):
        if (l3, (-1) ** (shells[i] + shells[j])) == irrep.kind:
            symbol = wigner_3j(shells[i], shells[j], l3).permute(2, 0, 1) * sqrt(irrep.dim)
            block = torch.zeros(irrep.dim, size, size, dtype=torch.float64)
            block[:, first[i] : first[i + 1], first[j] : first[j + 1]] = symbol
            blocks.append(block.flatten(1))
    return torch.stack(blocks, dim=1).flatten(0, 1)
