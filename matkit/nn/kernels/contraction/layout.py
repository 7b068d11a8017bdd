"""What a symmetric contraction computes: one polynomial per species, channel and output component.

The polynomials' coefficients are linear in the weights; here are the constants of this map.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.couplings import Kind, Monomial, coupling_paths


class ContractionLayout(NamedTuple):
    """Irreps and order of a contraction.

    Attributes:
        sources: Degree and parity of every input irrep.
        targets: Degree and parity of every output irrep.
        correlation: Highest order.
        channels: Channels of every irrep.
    """

    sources: tuple[Kind, ...]
    targets: tuple[Kind, ...]
    correlation: int
    channels: int

    @property
    def components(self) -> int:
        """Components of all input irreps together."""
        return sum(2 * degree + 1 for degree, _ in self.sources)


class Polynomials(NamedTuple):
    """The paths of all orders, the highest first, to one output irrep.

    Attributes:
        counts: Paths of every order.
        monomials: Those that occur, sorted.
        coefficients: Of every path's polynomials [2l + 1, paths, monomials], float64.
    """

    counts: tuple[int, ...]
    monomials: tuple[Monomial, ...]
    coefficients: Tensor


@cache
def polynomials(layout: ContractionLayout) -> tuple[Polynomials, ...]:
    """Return the polynomials of every output irrep."""
    return tuple(
        _polynomials(layout.sources, target, layout.correlation) for target in layout.targets
    )


def _polynomials(sources: tuple[Kind, ...], target: Kind, correlation: int) -> Polynomials:
    orders = [coupling_paths(sources, target, order) for order in range(correlation, 0, -1)]
    monomials = tuple(sorted(m for paths in orders for m in paths.monomials))
    place = {monomial: i for i, monomial in enumerate(monomials)}
    rows = []
    for paths in orders:
        row = paths.coefficients.new_zeros(*paths.coefficients.shape[:2], len(monomials))
        row[:, :, [place[monomial] for monomial in paths.monomials]] = paths.coefficients
        rows.append(row)
    counts = tuple(row.shape[1] for row in rows)
    return Polynomials(counts, monomials, torch.cat(rows, dim=1))
