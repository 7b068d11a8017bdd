"""Symmetric matrices over the atoms of a batch, in small blocks for pairs of atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from matkit.graph import Graph


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBlocks:
    """One symmetric matrix ``H = S + Sᵀ`` for every structure of a batch; S is what is stored.

    Blocks stay apart by lattice image until a matrix is put together. Since both directions of a
    pair are in the graph, the block between atom i and atom j in image R is
    ``S_ij(R) + S_ji(-R)ᵀ``, and H is symmetric to the last bit.

    Attributes:
        pairs: Pairs of different atoms or images, both directions.
        diagonal: Blocks of S between an atom and itself [N, a, a].
        off: Blocks of S between centre (rows) and neighbour (columns) [E, a, a].
        invariant: Whether H is also to fulfil what the invariance of the energy demands; see
            `matkit.hessians.potentials.impose_invariance`.
    """

    pairs: Graph
    diagonal: Float[Tensor, "N a a"]
    off: Float[Tensor, "E a a"]
    invariant: bool = False

    def dense(self) -> list[Float[Tensor, "M M"]]:
        """Return the matrices [a n, a n] of structures with n atoms, summed over images."""
        half, pointers = self.flat()
        sizes = (self.diagonal.shape[1] * self.pairs.n_atoms).tolist()
        parts = half.split(torch.diff(pointers).tolist())
        squares = (part.view(n, n) for part, n in zip(parts, sizes, strict=True))
        return [square + square.T for square in squares]

    def flat(self) -> tuple[Float[Tensor, " M"], Int[Tensor, " B_plus_1"]]:
        """Return S of all structures as one vector, row by row, and where each begins [B + 1]."""
        pointers, places = self._places()
        blocks = torch.cat([self.diagonal, self.off])
        half = blocks.new_zeros(int(pointers[-1]))
        return half.index_add(0, places.flatten(), blocks.flatten()), pointers

    def images(
        self,
    ) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"], Int[Tensor, "K 3"], Float[Tensor, "K a a"]]:
        """Return the blocks of H one by one; several of the same atoms and image add up.

        Returns:
            Atoms of rows [K], atoms of columns [K], lattice translations of the latter [K, 3], and
            blocks [K, a, a].
        """
        pairs = self.pairs
        atoms = torch.arange(len(pairs.species), device=pairs.device)
        none = pairs.shift.new_zeros(len(atoms), 3)
        return (
            torch.cat([atoms, pairs.center, pairs.neighbor]),
            torch.cat([atoms, pairs.neighbor, pairs.center]),
            torch.cat([none, pairs.shift, -pairs.shift]),
            torch.cat([self.diagonal + self.diagonal.mT, self.off, self.off.mT]),
        )

    def bloch(self, q: Float[Tensor, " 3"]) -> Complex[Tensor, "M M"]:
        """Return ``Σ_R H(R) exp(2πi q·R)`` [a N, a N] of one crystal, a Hermitian matrix.

        Of force constants and divided by √(m_i m_j), it is the dynamical matrix. What `invariant`
        demands is not imposed on it: acoustic modes at q = 0 are as good as what was learned,
        unless blocks on the diagonal are minus the sum of the others.

        Args:
            q: Wave vector in units of the reciprocal lattice vectors.
        """
        angle = 2 * math.pi * (self.pairs.shift.to(q) @ q)
        phase = torch.polar(torch.ones_like(angle), angle)[:, None, None]
        blocks = torch.cat([self.diagonal + 0j, self.off * phase])
        pointers, places = self._places()
        half = blocks.new_zeros(int(pointers[-1])).index_add(0, places.flatten(), blocks.flatten())
        square = half.view(math.isqrt(len(half)), -1)
        return square + square.mH

    def _places(self) -> tuple[Tensor, Tensor]:
        """Return where each structure begins [B + 1] and where the blocks' entries go."""
        pairs, a = self.pairs, self.diagonal.shape[1]
        atoms = torch.arange(len(pairs.species), device=pairs.device)
        rows = torch.cat([atoms, pairs.center])
        columns = torch.cat([atoms, pairs.neighbor])
        width = a * pairs.n_atoms
        pointers = torch.nn.functional.pad(torch.cumsum(width**2, 0), (1, 0))
        structure, axis = pairs.batch[rows], torch.arange(a, device=pairs.device)
        first = pairs.offsets[structure]
        row = (a * (rows - first))[:, None] + axis
        column = (a * (columns - first))[:, None] + axis
        start = (pointers[structure][:, None] + row * width[structure][:, None])[:, :, None]
        return pointers, start + column[:, None, :]
