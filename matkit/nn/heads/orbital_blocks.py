"""From equivariant features to blocks of a matrix over the orbitals of two atoms.

A block of two shells of degrees l1 and l2 is the sum of irreps l3 = |l1 - l2| .. l1 + l2 of parity
(-1)^(l1 + l2). Each is a mixture of the channels of the features of that irrep, with weights that
an embedding of the two elements gives, as in QHNet (Yu et al. 2023,
https://arxiv.org/abs/2306.04922).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.nn.equivariant import Features, ScalarMLP
from matkit.nn.irreps import Irrep, Irreps, wigner_3j
from matkit.orbitals import orbital_count


def block_irreps(shells: Sequence[int], channels: int) -> Irreps:
    """Return the irreps that blocks between shells are made of, even scalars first."""
    kinds = {
        (degree, (-1) ** (l1 + l2))
        for l1, l2 in product(shells, repeat=2)
        for degree in range(abs(l1 - l2), l1 + l2 + 1)
    }
    return tuple(Irrep(channels, *kind) for kind in sorted(kinds))


class OrbitalBlocks(nn.Module):
    """Blocks over all common shells, from features of atoms or of pairs of atoms.

    Args:
        shells: Degrees of the common shells, see `matkit.orbitals.common_shells`.
        channels: Channels of the features.
        elements: How many of elements decide the weights: the atom's own, or those of a pair.
        n_species: Number of species.
        width: Features of a species, and of the hidden layer.
    """

    def __init__(
        self, shells: Sequence[int], channels: int, elements: int, n_species: int, width: int = 64
    ) -> None:
        super().__init__()
        self.size, self.n_species, self.elements = orbital_count(shells), n_species, elements
        self.irreps = block_irreps(shells, channels)
        tables = [_table(shells, irrep) for irrep in self.irreps]
        for i, table in enumerate(tables):
            self.register_buffer(f"table_{i}", table, persistent=False)
        self.paths = [len(table) // irrep.dim for table, irrep in zip(tables, self.irreps, strict=True)]
        self.embedding = nn.Parameter(torch.randn(n_species, width))
        count = channels * sum(self.paths)
        self.weights = ScalarMLP((elements * width, width, count))
        self.bias = nn.Parameter(torch.zeros(n_species**elements, self.paths[0]))

    def forward(self, x: Features, kind: Int[Tensor, " E"]) -> Float[Tensor, "E a a"]:
        """Return blocks, rows of the first atom and columns of the second.

        Args:
            x: Features per irrep of `irreps` [E, 2l + 1, channels].
            kind: Index of the atom's species, or of the pair's, ``first * n_species + second``.
        """
        channels = x[0].shape[2]
        sizes = [channels * count for count in self.paths]
        weights = (self._weights() / sqrt(channels))[kind].split(sizes, dim=1)
        blocks = self.bias[kind] @ self.get_buffer("table_0").to(x[0])
        for i, (part, weight) in enumerate(zip(x, weights, strict=True)):
            mixed = part @ weight.unflatten(1, (channels, -1))
            blocks = blocks + mixed.flatten(1) @ self.get_buffer(f"table_{i}").to(part)
        return blocks.unflatten(1, (self.size, self.size))

    def _weights(self) -> Tensor:
        """Return one row of weights for every species, or for every ordered pair of them."""
        rows = self.embedding
        if self.elements == 2:
            first = rows.repeat_interleave(self.n_species, 0)
            rows = torch.cat([first, rows.repeat(self.n_species, 1)], dim=1)
        return self.weights(rows)


def _table(shells: Sequence[int], irrep: Irrep) -> Float[Tensor, "m_paths aa"]:
    """Return what every component of every path adds to a block [(2l + 1) paths, a²], float64."""
    size = orbital_count(shells)
    first = [orbital_count(shells[:i]) for i in range(len(shells))]
    paths = []
    for (i, l1), (j, l2) in product(enumerate(shells), repeat=2):
        if (-1) ** (l1 + l2) != irrep.p or not abs(l1 - l2) <= irrep.l <= l1 + l2:
            continue
        block = torch.zeros(irrep.dim, size, size, dtype=torch.float64)
        rows, columns = slice(first[i], first[i] + 2 * l1 + 1), slice(first[j], first[j] + 2 * l2 + 1)
        block[:, rows, columns] = wigner_3j(l1, l2, irrep.l).permute(2, 0, 1) * sqrt(irrep.dim)
        paths.append(block.flatten(1))
    return torch.stack(paths, dim=1).flatten(0, 1)
