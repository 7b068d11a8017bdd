"""What is added up over the atoms for each kind of target, before the last linear map."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.interfaces import AtomDescription
from matkit.nn.irreps import wigner_3j
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures


class SumOfAtoms(nn.Module):
    """``Σ_i h(x_i)``: an extensive target.

    Args:
        width: Features of an atom.
        hidden: Features of the sum.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, hidden), nn.SiLU())
        self.features = hidden

    def forward(
        self, x: Float[Tensor, "N F"], description: AtomDescription, structures: Structures
    ) -> Float[Tensor, "B 1 H"]:
        """Return what the last map makes the target of; `x` are features that all heads share."""
        return scatter_sum(self.layer(x), structures.batch, len(structures)).unsqueeze(1)


class SumOfSquares(nn.Module):
    """``Σ_i h(x_i) |r_i - R|² + g(x_i)`` about the centre R of the nuclear charges.

    Args:
        width: Features of an atom.
        hidden: Features of each sum.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, 2 * hidden), nn.SiLU())
        self.features = 2 * hidden

    def forward(
        self, x: Float[Tensor, "N F"], description: AtomDescription, structures: Structures
    ) -> Float[Tensor, "B 1 H"]:
        """Return what the last map makes the target of; `x` are features that all heads share."""
        charges, own = self.layer(x).chunk(2, dim=1)
        weighted = charges * squares_from_center(structures).to(x).unsqueeze(1)
        both = torch.cat([weighted, own], dim=1)
        return scatter_sum(both, structures.batch, len(structures)).unsqueeze(1)


class Dipole(nn.Module):
    """``Σ_i h(x_i) (r_i - R) + Σ_i g(x_i) v_i``: charges that add up to zero, and atomic dipoles.

    R is the mean position, which takes the same charge off every atom.

    Args:
        width: Features of an atom.
        hidden: Features of the charges.
        vectors: Channels of the vectors of an atom, 0 if it has none.
    """

    def __init__(self, width: int, hidden: int, vectors: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, hidden), nn.SiLU())
        self.gate = nn.Linear(width, vectors) if vectors else None
        self.hidden, self.features = hidden, hidden + vectors

    def charges(
        self, x: Float[Tensor, "N F"], last: Float[Tensor, " H"], structures: Structures
    ) -> Float[Tensor, " N"]:
        """Return the charges, which add up to zero in every structure, in units of the dipole.

        Args:
            x: Features that all heads share.
            last: The last map, of which the charges have the first `hidden` weights.
            structures: Whose atoms they are.
        """
        charges = self.layer(x) @ last[: self.hidden]
        means = scatter_sum(charges, structures.batch, len(structures)) / structures.n_atoms
        return charges - means.to(charges)[structures.batch]

    def forward(
        self, x: Float[Tensor, "N F"], description: AtomDescription, structures: Structures
    ) -> Float[Tensor, "B 3 H"]:
        """Return what the last map makes the vector of; `x` are features that all heads share."""
        places = from_center(structures, torch.ones_like(structures.species).double()).to(x)
        parts = places.unsqueeze(2) * self.layer(x).unsqueeze(1)
        if self.gate is not None and description.vectors is not None:
            gated = description.vectors * self.gate(x).unsqueeze(1)
            parts = torch.cat([parts, gated], dim=2)
        return scatter_sum(parts, structures.batch, len(structures))


class Polarizability(nn.Module):
    """``Σ_i h(x_i) 1 + Σ_i g(x_i) t_i``, a symmetric matrix.

    t_i are an atom's features without trace; where there are none, those of its place.

    Args:
        width: Features of an atom.
        hidden: Features of the trace.
        tensors: Channels of the matrices of an atom, 0 if it has none.
    """

    def __init__(self, width: int, hidden: int, tensors: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, hidden), nn.SiLU())
        self.gate = nn.Linear(width, tensors or hidden)
        self.features = hidden + (tensors or hidden)

    def forward(
        self, x: Float[Tensor, "N F"], description: AtomDescription, structures: Structures
    ) -> Float[Tensor, "B 9 H"]:
        """Return what the last map makes the matrix of; `x` are features that all heads share."""
        unit = torch.eye(3, dtype=x.dtype, device=x.device).reshape(1, 9, 1)
        parts = unit * self.layer(x).unsqueeze(1)
        if description.tensors is None:
            places = from_center(structures, torch.ones_like(structures.species).double())
            traceless = places.unsqueeze(2) * places.unsqueeze(1)
            traceless = traceless.flatten(1).unsqueeze(2).to(x) - unit * (
                places.square().sum(1).to(x)[:, None, None] / 3
            )
        else:
            traceless = _matrices().to(x) @ description.tensors
        parts = torch.cat([parts, traceless * self.gate(x).unsqueeze(1)], dim=2)
        return scatter_sum(parts, structures.batch, len(structures))


@cache
def _matrices() -> Tensor:
    """Return matrices without trace [9, 5], one for each component of degree 2."""
    return wigner_3j(1, 1, 2).reshape(9, 5)


def squares_from_center(structures: Structures) -> Float[Tensor, " N"]:
    """Return squared distances from the centre of the nuclear charges, Å²."""
    return from_center(structures, structures.species.double()).square().sum(1)


def from_center(structures: Structures, weights: Float[Tensor, " N"]) -> Float[Tensor, "N 3"]:
    """Return positions less their weighted mean in each structure, Å."""
    batch, count = structures.batch, len(structures)
    weighted = scatter_sum(structures.positions * weights.unsqueeze(1), batch, count)
    centers = weighted / scatter_sum(weights, batch, count).unsqueeze(1)
    return structures.positions - centers[batch]
