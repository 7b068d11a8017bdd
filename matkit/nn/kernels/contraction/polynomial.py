"""The polynomials of the contraction and their derivatives in plain torch.

What the kernels compute, argument by argument: they are compared with it, and it stands in where
there is no kernel, for derivatives of third order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.nesting import nests


class Operands(NamedTuple):
    """What <g, B(x, c)> and its change along h depend on.

    Attributes:
        c: Coefficients [species, blocks, coefficients, lanes].
        x: Features per input irrep [N, 2l + 1, channels].
        g: Cotangent per output irrep; empty where B itself is wanted.
        h: Direction per input irrep; empty where no change is wanted.
    """

    c: Tensor
    x: Features
    g: Features = ()
    h: Features = ()


def values(layout: ContractionLayout, c: Tensor, x: Features, slot: Tensor) -> Features:
    """Return B(x, c).

    Args:
        layout: Irreps and order.
        c: Coefficients [species, blocks, coefficients, lanes].
        x: Features per irrep [N, 2l + 1, channels].
        slot: Place of each atom's species in `c` [N].
    """
    channels = x[0].shape[2]  # which may be a part of the layout's
    by_atom = c.transpose(1, 2).flatten(2)[slot][..., :channels]
    factors = torch.cat([*x, torch.ones_like(x[0][:, :1])], dim=1)
    outputs, first = [], 0
    for (degree, _), (places, components) in zip(layout.targets, _tables(layout), strict=True):
        terms = by_atom[:, first : first + len(components)]
        first += len(components)
        for row in places:
            terms = terms * factors[:, row]
        zero = terms.new_zeros(len(terms), 2 * degree + 1, channels)
        outputs.append(zero.index_add(1, components, terms))
    return tuple(outputs)


def derivative(
    layout: ContractionLayout, variable: str, operands: Operands, slot: Tensor
) -> tuple[Tensor, ...]:
    """Return the derivative of <g, B(x, c)> by a variable, or how it changes as x moves along h.

    Args:
        layout: Irreps and order.
        variable: "g", "x" or "c".
        operands: Arguments; the result can be differentiated by all of them.
        slot: Place of each atom's species in `c` [N].
    """
    with torch.enable_grad():
        c, x = node(operands.c), tuple(map(node, operands.x))
        out = values(layout, c, x, slot)
        g = tuple(map(node, operands.g or map(torch.zeros_like, out)))
        scalar = _inner(g, out)
        if operands.h:
            by_x = torch.autograd.grad(scalar, x, create_graph=True, materialize_grads=True)
            scalar = _inner(by_x, operands.h)
        by = {"g": g, "x": x, "c": (c,)}[variable]
        return torch.autograd.grad(scalar, by, create_graph=True, materialize_grads=True)


def node(tensor: Tensor) -> Tensor:
    """Return the tensor as a node of its own in the graph."""
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def _inner(a: Features, b: Features) -> Tensor:
    return torch.stack([(p * q).sum() for p, q in zip(a, b, strict=True)]).sum()


@lru_cache(maxsize=64)
def _tables(layout: ContractionLayout) -> list[tuple[Tensor, Tensor]]:
    """Return, for every output, its coefficients' factors [order, n] and components [n]."""
    one = layout.components
    tables = []
    for nest in nests(layout):
        rows, components = [], []
        for factor, terms in nest.factors:
            for term in terms:
                whole = [*factor, *([] if term.rest is None else [term.rest])]
                for m, _ in term.entries:
                    rows.append([*whole, *[one] * (layout.correlation - len(whole))])
                    components.append(m)
        tables.append((torch.tensor(rows).T.contiguous(), torch.tensor(components)))
    return tables
