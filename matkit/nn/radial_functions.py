"""Radial functions of a trained network, with exact derivatives by the length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Radial = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Mixture:
    """W radial functions that are linear in H others: a network whose last layer is linear.

    What costs much (derivatives, checks of a table) is done on the H inner functions.

    Attributes:
        inner: From lengths [n] in Å, float64, to values [n, H]; differentiable twice.
        mixing: Matrix [H, W], float64.
    """

    inner: Radial
    mixing: Tensor

    def __call__(self, lengths: Float[Tensor, " n"]) -> Float[Tensor, "n W"]:
        """Return the values at lengths in Å."""
        return self.inner(lengths) @ self.mixing


def with_slope(function: Radial, lengths: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Return function(lengths) and its derivative, both [n, W] in float64.

    Each row depends on its own length alone, so the derivative is a Jacobian-vector product: the
    derivative of the vector-Jacobian product by its vector. (Forward-mode differentiation would
    first import 800 modules.)
    """
    if isinstance(function, Mixture):
        value, slope = with_slope(function.inner, lengths)
        return value @ function.mixing, slope @ function.mixing
    with torch.enable_grad():
        r = lengths.detach().double().requires_grad_()
        value = function(r)
        vector = torch.zeros_like(value, requires_grad=True)
        # Sums, because torch imports sympy when it is handed a vector.
        (back,) = torch.autograd.grad((value * vector).sum(), r, create_graph=True)
        (slope,) = torch.autograd.grad(back.sum(), vector)
    return value.detach(), slope.detach()
