"""Lattices as six numbers free of orientation: the logarithm of the symmetric part.

Jiao et al., ICLR 2024 (DiffCSP++): ``cell = S R`` with S symmetric (polar decomposition), and
``log S = sum_i k_i B_i`` over a basis of the symmetric matrices. Each crystal system leaves some of
the k free and fixes the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# The basis B of Luo et al. (CrystalFlow), not normalised: k = (xy, xz, yz, ...) and, last, the
# mean logarithm of the lengths in Å.
BASIS = torch.tensor(
    [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, -2]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    ],
    dtype=torch.float64,
)


def product(a: Float[Tensor, "B 3 3"], b: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Return the matrix products, never in reduced precision as `torch.autocast` has them."""
    return (a.unsqueeze(3) * b.unsqueeze(1)).sum(dim=2)


def to_logarithm(cell: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 6"]:
    """Return k [B, 6] of cells in Å with lattice vectors as rows, of any orientation."""
    values, vectors = torch.linalg.eigh(cell @ cell.mT)  # of S squared
    logarithm = (vectors * (0.5 * torch.log(values)).unsqueeze(1)) @ vectors.mT
    basis = BASIS.to(cell)
    return torch.einsum("bij,kij->bk", logarithm, basis) / basis.square().sum(dim=(1, 2))


def from_logarithm(k: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """Return symmetric cells [B, 3, 3] in Å."""
    return torch.linalg.matrix_exp(torch.einsum("bk,kij->bij", k, BASIS.to(k)))


def per_atom(n_atoms: Int[Tensor, " B"]) -> Float[Tensor, "B 6"]:
    """Return what the number of atoms adds to the logarithm of a lattice [B, 6]."""
    return nn.functional.pad(n_atoms.double().log().unsqueeze(1) / 3, (5, 0))


def lattice_scale(
    cell: Float[Tensor, "B 3 3"], n_atoms: Int[Tensor, " B"], smallest: float
) -> list[list[float]]:
    """Return mean and standard deviation of the logarithms of lattices at the volume per atom.

    Args:
        cell: Lattice vectors as rows [B, 3, 3], Å.
        n_atoms: Atoms of each crystal [B].
        smallest: Bound of the standard deviations from below.
    """
    k = to_logarithm(cell) - per_atom(n_atoms)
    return [k.mean(dim=0).tolist(), k.std(dim=0, correction=0).clamp(min=smallest).tolist()]


class LatticeUnits(nn.Module):
    """Lattices as standard numbers: logarithms less a mean, by a standard deviation.

    Args:
        center: Mean of the logarithms [6].
        spread: Their standard deviation [6].
        scaled: Whether they are those of the volume per atom, whatever the number of atoms.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, center: Sequence[float], spread: Sequence[float], scaled: bool) -> None:
        super().__init__()
        self.scaled = scaled
        for name, values in (("center", center), ("spread", spread)):
            tensor = torch.tensor(values, dtype=torch.float64)
            self.register_buffer(name, tensor, persistent=False)

    def numbers(
        self, cell: Float[Tensor, "B 3 3"], n_atoms: Int[Tensor, " B"]
    ) -> Float[Tensor, "B 6"]:
        """Return the numbers of cells in Å [B, 6], float64."""
        k = to_logarithm(cell)
        return self.standard(k - per_atom(n_atoms) if self.scaled else k)

    def cells(
        self, numbers: Float[Tensor, "B 6"], n_atoms: Int[Tensor, " B"]
    ) -> Float[Tensor, "B 3 3"]:
        """Return symmetric cells in Å [B, 3, 3], float64."""
        k = self.logarithm(numbers)
        return from_logarithm(k + per_atom(n_atoms) if self.scaled else k)

    def logarithm(self, numbers: Float[Tensor, "B 6"]) -> Float[Tensor, "B 6"]:
        """Return the logarithms, those of the volume per atom if so scaled."""
        return self.center.double() + self.spread.double() * numbers.double()

    def standard(self, k: Float[Tensor, "B 6"]) -> Float[Tensor, "B 6"]:
        """Return the numbers of such logarithms."""
        return (k - self.center.double()) / self.spread.double()
