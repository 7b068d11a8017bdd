"""Orders the operations of polynomials so that nearly each is one multiply-add with a coefficient.

The polynomials of one output irrep are written as ``sum over factors f of f (c_f + sum over k of
c_fk x_k)``, where a factor is a component x_i or a product x_i x_j that all polynomials share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.couplings import Monomial
from matkit.nn.kernels.contraction.layout import ContractionLayout, Polynomials, polynomials


class MonomialTerm(NamedTuple):
    """A monomial within its factor.

    Attributes:
        rest: Component that the factor is multiplied by, or None.
        entries: Components of the output that it occurs in, and the places of its coefficients.
    """

    rest: int | None
    entries: tuple[tuple[int, int], ...]


class Nest(NamedTuple):
    """The polynomials of one output irrep in the order they are worked out.

    Attributes:
        factors: Every factor with its monomials, that of the factor itself first.
        matrix: From weights of paths to coefficients [coefficients, paths], float64.
    """

    factors: tuple[tuple[Monomial, tuple[MonomialTerm, ...]], ...]
    matrix: Tensor


@cache
def nests(layout: ContractionLayout) -> tuple[Nest, ...]:
    """Return the polynomials of every output irrep; coefficients are numbered through."""
    found, first = [], 0
    for target in polynomials(layout):
        found.append(_nest(target, first))
        first += len(found[-1].matrix)
    return tuple(found)


def _nest(target: Polynomials, first: int) -> Nest:
    present = target.coefficients.abs().amax(dim=1) > 1e-12
    users = {
        monomial: present[:, i].nonzero().squeeze(1).tolist()
        for i, monomial in enumerate(target.monomials)
    }
    column = {monomial: i for i, monomial in enumerate(target.monomials)}
    terms: dict[Monomial, list[MonomialTerm]] = defaultdict(list)
    rows: list[Tensor] = []
    for factor, rest, monomial in sorted(_split(users)):
        entries: list[tuple[int, int]] = []
        for m in users[monomial]:
            entries.append((m, first + len(rows)))
            rows.append(target.coefficients[m, :, column[monomial]])
        terms[factor].append(MonomialTerm(rest[0] if rest else None, tuple(entries)))
    factors = tuple((factor, tuple(inner)) for factor, inner in terms.items())
    return Nest(factors, torch.stack(rows))


def _split(users: dict[Monomial, list[int]]) -> list[tuple[Monomial, Monomial, Monomial]]:
    """Return factor, rest and whole of every monomial."""
    factor_of: dict[Monomial, Monomial] = {}
    for order in (3, 2):
        # A monomial that is a factor already costs nothing there; one component always is.
        taken = set(factor_of.values())
        _cover({m for m in users if len(m) == order and m not in taken}, users, factor_of)
    pairs = [(factor_of.get(monomial, monomial), monomial) for monomial in users]
    return [(factor, _quotient(monomial, factor), monomial) for factor, monomial in pairs]


def _cover(
    rest: set[Monomial], users: dict[Monomial, list[int]], factor_of: dict[Monomial, Monomial]
) -> None:
    """Give every monomial a factor; greedily, first the one that saves most operations."""
    while rest:
        members: dict[Monomial, list[Monomial]] = defaultdict(list)
        for monomial in sorted(rest):
            for factor in sorted({monomial[:i] + monomial[i + 1 :] for i in range(len(monomial))}):
                members[factor].append(monomial)

        def saving(factor: Monomial, members: dict[Monomial, list[Monomial]] = members) -> int:
            count = Counter(m for monomial in members[factor] for m in users[monomial])
            return sum(count.values()) - len(count)

        best = max(sorted(members), key=saving)
        factor_of.update(dict.fromkeys(members[best], best))
        rest -= set(members[best])


def _quotient(monomial: Monomial, factor: Monomial) -> Monomial:
    rest = Counter(monomial)
    rest.subtract(factor)
    return tuple(rest.elements())
