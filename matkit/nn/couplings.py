"""Couplings of several copies of a feature to one irrep: generalised Clebsch-Gordan tensors.

The product of nu copies of a feature x is reduced from left to right: two copies to an irrep, this
one with the third copy to the next, and so on. Every sequence of irreps that ends at the wanted one
is a path. Order, sign and normalisation of the paths are those of MACE (Batatia et al. 2022,
https://arxiv.org/abs/2206.07697, eq. 10), so that its weights can be read.

All copies being equal, a path is a polynomial in the components of x, and it is given as such: by
its coefficients of the monomials x_i x_j x_k with i <= j <= k.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.irreps import wigner_3j

Kind = tuple[int, int]  # degree and parity
Monomial = tuple[int, ...]  # components that are multiplied, in rising order


class CouplingPaths(NamedTuple):
    """All paths of one order to one irrep.

    Attributes:
        monomials: Those that occur, in lexical order.
        coefficients: Of every path's polynomials [2l + 1, paths, monomials], float64.
    """

    monomials: tuple[Monomial, ...]
    coefficients: Tensor


@cache
def coupling_paths(kinds: tuple[Kind, ...], target: Kind, order: int) -> CouplingPaths:
    """Return the paths of `order` copies of a feature to an irrep; there may be none.

    Args:
        kinds: Degree and parity of every irrep of the feature.
        target: Degree and parity of the result.
        order: Number of copies.
    """
    tensors = [tensor for _, tensor in coupling_tensors(kinds, order, target)]
    if not tensors:
        return CouplingPaths((), torch.zeros(2 * target[0] + 1, 0, 0, dtype=torch.float64))
    stack = torch.stack(tensors, dim=1)
    places = torch.cartesian_prod(*[torch.arange(stack.shape[2])] * order).view(-1, order)
    monomials, number = places.sort(dim=1).values.unique(dim=0, return_inverse=True)
    sums = stack.new_zeros(*stack.shape[:2], len(monomials))
    sums.index_add_(2, number, stack.flatten(2))
    present = sums.abs().amax(dim=(0, 1)) > 1e-12
    return CouplingPaths(tuple(map(tuple, monomials[present].tolist())), sums[:, :, present])


def coupling_tensors(
    kinds: tuple[Kind, ...], order: int, target: Kind | None = None
) -> list[tuple[Kind, Tensor]]:
    """Return irrep and tensor [2l + 1, components, components, ...] of every path, by irrep.

    Args:
        kinds: Degree and parity of every irrep of the feature.
        order: Number of copies.
        target: Return only the paths to this irrep.
    """
    ends = torch.tensor([0] + [2 * degree + 1 for degree, _ in kinds]).cumsum(0).tolist()
    size = ends[-1]
    if order == 1:
        unit = torch.eye(size, dtype=torch.float64)
        paths = [(kind, unit[ends[i] : ends[i + 1]]) for i, kind in enumerate(kinds)]
        return [path for path in paths if target in (None, path[0])]
    paths = []
    for (l1, p1), left in coupling_tensors(kinds, order - 1):
        for i, (l2, p2) in enumerate(kinds):
            for degree in range(abs(l1 - l2), l1 + l2 + 1):
                if target in (None, (degree, p1 * p2)):
                    tensor = left.new_zeros(2 * degree + 1, *left.shape[1:], size)
                    tensor[..., ends[i] : ends[i + 1]] = torch.einsum(
                        "abc,b...->a...c", _coupling(degree, l1, l2), left
                    )
                    paths.append(((degree, p1 * p2), tensor))
    return sorted(paths, key=lambda path: path[0])


def _coupling(degree: int, l1: int, l2: int) -> Tensor:
    """Return sqrt(2l + 1) 3j(l, l1, l2), with the sign that e3nn 0.4, which MACE uses, gives it.

    It differs from that of later versions for some symbols. The rule below is right where one of
    the degrees is at most four, which no published model exceeds.
    """
    low, middle, high = sorted((degree, l1, l2))
    differs = (low == 1 and middle == high >= 2) or (
        middle >= 4 and (low, high - middle) in ((3, 2), (4, 1))
    )
    return wigner_3j(degree, l1, l2) * (sqrt(2 * degree + 1) * (-1 if differs else 1))
