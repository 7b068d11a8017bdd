"""Symmetric matrices over the atoms of a batch, in small blocks for pairs of atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from matkit.elements import format_species
from matkit.errors import ConfigError, UnknownElementError
from matkit.graph import Graph


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBlocks:
    """One symmetric matrix ``H = S + Sᵀ`` for every structure of a batch; S is what is stored.

    Blocks stay apart by lattice image until a matrix is put together. Since both directions of a
    pair are in the graph, the block between atom i and atom j in image R is
    ``S_ij(R) + S_ji(-R)ᵀ``, and H is symmetric to the last bit.

    All atoms have as many rows and columns as blocks (three in a Hessian), or each has its own
    number (the orbitals of its element in a Hamiltonian). Blocks then are as large as the largest,
    and what lies beyond the rows of one atom or the columns of the other is not part of H.

    Attributes:
        pairs: Pairs of different atoms or images, both directions.
        diagonal: Blocks of S between an atom and itself [N, a, a].
        off: Blocks of S between centre (rows) and neighbour (columns) [E, a, a].
        widths: Rows of H that belong to each atom [N], see `species_widths`; None if all have a.
        invariant: Whether H is also to fulfil what the invariance of the energy demands; see
            `matkit.hessians.potentials.impose_invariance`.

    Raises:
        ConfigError: blocks do not fit the pairs or the widths.
    """

    pairs: Graph
    diagonal: Float[Tensor, "N a a"]
    off: Float[Tensor, "E a a"]
    widths: Int[Tensor, " N"] | None = None
    invariant: bool = False

    def __post_init__(self) -> None:
        """Check that the blocks fit the pairs and the widths."""
        a, n_atoms = self.diagonal.shape[-1], len(self.pairs.species)
        for name, blocks, count in (
            ("diagonal", self.diagonal, n_atoms),
            ("off", self.off, len(self.pairs.center)),
        ):
            if tuple(blocks.shape) != (count, a, a):
                raise ConfigError(
                    f"Expected square blocks of one size, `{name}` of shape {(count, a, a)} for "
                    f"{n_atoms} atoms and {len(self.pairs.center)} pairs, got "
                    f"{tuple(blocks.shape)}."
                )
        if self.widths is not None:
            _check_widths(self.widths, n_atoms, a)

    @property
    def sizes(self) -> Int[Tensor, " B"]:
        """Rows of every matrix [B]."""
        return torch.diff(self._rows()[self.pairs.offsets])

    def dense(self) -> list[Float[Tensor, "M M"]]:
        """Return the matrices of all structures, summed over images."""
        half, pointers = self.flat()
        parts = half.split(torch.diff(pointers).tolist())
        squares = (part.view(n, n) for part, n in zip(parts, self.sizes.tolist(), strict=True))
        return [square + square.T for square in squares]

    def flat(self) -> tuple[Float[Tensor, " M"], Int[Tensor, " B_plus_1"]]:
        """Return S of all structures as one vector, row by row, and where each begins [B + 1]."""
        return self._sum(torch.cat([self.diagonal, self.off]))

    def images(
        self,
    ) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"], Int[Tensor, "K 3"], Float[Tensor, "K a a"]]:
        """Return the blocks of H one by one; several of the same atoms and image add up.

        Returns:
            Atoms of rows [K], atoms of columns [K], lattice translations of the latter [K, 3], and
            blocks [K, a, a], zero beyond the widths.
        """
        pairs = self.pairs
        atoms = torch.arange(len(pairs.species), device=pairs.device)
        none = pairs.shift.new_zeros(len(atoms), 3)
        rows = torch.cat([atoms, pairs.center, pairs.neighbor])
        columns = torch.cat([atoms, pairs.neighbor, pairs.center])
        blocks = torch.cat([self.diagonal + self.diagonal.mT, self.off, self.off.mT])
        if self.widths is not None:
            blocks = torch.where(self._inside(self.widths, rows, columns), blocks, 0.0)
        return rows, columns, torch.cat([none, pairs.shift, -pairs.shift]), blocks

    def bloch(self, q: Float[Tensor, " 3"]) -> Complex[Tensor, "M M"]:
        """Return ``Σ_R H(R) exp(2πi q·R)`` of one crystal, a Hermitian matrix.

        Of force constants and divided by √(m_i m_j), it is the dynamical matrix. What `invariant`
        demands is not imposed on it: acoustic modes at q = 0 are as good as what was learned,
        unless blocks on the diagonal are minus the sum of the others.

        Args:
            q: Wave vector in units of the reciprocal lattice vectors.

        Raises:
            ConfigError: there are several structures.
        """
        if len(self.pairs) != 1:
            raise ConfigError(
                f"Expected the blocks of one crystal, got those of {len(self.pairs)} structures; "
                "take one at a time."
            )
        angle = 2 * math.pi * (self.pairs.shift.to(q) @ q)
        phase = torch.polar(torch.ones_like(angle), angle)[:, None, None]
        half, _ = self._sum(torch.cat([self.diagonal + 0j, self.off * phase]))
        square = half.view(math.isqrt(len(half)), -1)
        return square + square.mH

    def _sum(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Return all blocks of S in their places [M], and where each structure begins [B + 1]."""
        pairs = self.pairs
        atoms = torch.arange(len(pairs.species), device=pairs.device)
        rows = torch.cat([atoms, pairs.center])
        columns = torch.cat([atoms, pairs.neighbor])
        pointers, places = self._places(rows, columns)
        if self.widths is not None:
            inside = self._inside(self.widths, rows, columns)
            blocks, places = blocks[inside], places[inside]
        half = blocks.new_zeros(int(pointers[-1]))
        return half.index_add(0, places.flatten(), blocks.flatten()), pointers

    def _places(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return where each structure begins [B + 1] and where the blocks' entries go [K, a, a]."""
        pairs, begin = self.pairs, self._rows()
        first = begin[pairs.offsets]
        size = torch.diff(first)
        pointers = torch.nn.functional.pad(torch.cumsum(size**2, 0), (1, 0))
        structure = pairs.batch[rows]
        axis = torch.arange(self.diagonal.shape[1], device=pairs.device)
        row = (begin[rows] - first[structure])[:, None] + axis
        column = (begin[columns] - first[structure])[:, None] + axis
        start = (pointers[structure][:, None] + row * size[structure][:, None])[:, :, None]
        return pointers, start + column[:, None, :]

    def _rows(self) -> Tensor:
        """Return the first row of every atom, counted through all structures, and the end."""
        if self.widths is None:
            count = len(self.pairs.species) + 1
            return self.diagonal.shape[1] * torch.arange(count, device=self.pairs.device)
        return torch.nn.functional.pad(torch.cumsum(self.widths, 0), (1, 0))

    def _inside(self, widths: Tensor, rows: Tensor, columns: Tensor) -> Bool[Tensor, "K a a"]:
        """Return which entries of blocks are part of H."""
        axis = torch.arange(self.diagonal.shape[1], device=widths.device)
        row, column = axis < widths[rows][:, None], axis < widths[columns][:, None]
        return row[:, :, None] & column[:, None, :]


def species_widths(species: Int[Tensor, " N"], widths: Mapping[int, int]) -> Int[Tensor, " N"]:
    """Return how many rows belong to each atom [N].

    Args:
        species: Atomic numbers [N].
        widths: Number for every atomic number, e.g. {1: 5, 8: 14} orbitals.

    Raises:
        UnknownElementError: there is no number for an element.
    """
    if missing := set(species.unique().tolist()) - set(widths):
        raise UnknownElementError(
            f"Expected the width of blocks for every element, got none for "
            f"{format_species(missing)}. Known are {format_species(widths)}."
        )
    table = species.new_zeros(max(widths, default=0) + 1)
    for z, width in widths.items():
        table[z] = width
    return table[species]


def _check_widths(widths: Tensor, n_atoms: int, a: int) -> None:
    if tuple(widths.shape) != (n_atoms,):
        raise ConfigError(
            f"Expected one width for each of {n_atoms} atoms, got shape {tuple(widths.shape)}."
        )
    if n_atoms and not 0 < int(widths.min()) <= int(widths.max()) <= a:
        raise ConfigError(
            f"Expected widths from 1 to {a}, the size of the blocks, got {int(widths.min())} to "
            f"{int(widths.max())}. Make blocks as large as the widest atom."
        )
