"""The fused convolution as autograd Functions, differentiable to any order.

The scalar S(x, Y, w, g) = <g, conv(x, Y, w)> is linear in each argument, so its four partial
derivatives are closed under differentiation: the derivative of each is again one of the four with
an argument replaced. No autograd runs inside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from matkit.nn.convolution.fused import Edges, gradients, product
from matkit.nn.convolution.paths import Layout
from matkit.nn.equivariant import Features


def convolve(
    layout: Layout, x: Features, harmonics: Tensor, weights: Tensor, edges: Edges
) -> Features:
    """Return the convolution, differentiable to any order."""
    args = (harmonics.contiguous(), weights.contiguous(), *(part.contiguous() for part in x))
    return tuple(_Product.apply(layout, edges, *args))  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    """g-derivative of S: the convolution itself."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, edges: Edges, *args: Tensor) -> tuple[Tensor, ...]:
        ctx.layout, ctx.edges = layout, edges
        ctx.save_for_backward(*args)
        harmonics, weights, *x = args
        return product(layout, tuple(x), harmonics, weights, edges)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Any, ...]:
        return None, None, *_derive(ctx.layout, ctx.edges, _wanted(ctx), ctx.saved_tensors, g)


class _Gradients(torch.autograd.Function):
    """x-, Y- and w-derivatives of S."""

    @staticmethod
    def forward(
        ctx: Any, layout: Layout, edges: Edges, wanted: str, *args: Tensor
    ) -> tuple[Any, ...]:
        ctx.layout, ctx.edges, ctx.wanted = layout, edges, wanted
        ctx.save_for_backward(*args)
        ctx.set_materialize_grads(False)
        n = len(layout.sources)
        harmonics, weights, x, g = args[0], args[1], args[2 : 2 + n], args[2 + n :]
        found = gradients(layout, (x, harmonics, weights), g, edges, wanted)
        return found.harmonics, found.weights, *(found.x or [None] * n)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        n, layout, edges = len(ctx.layout.sources), ctx.layout, ctx.edges
        args = ctx.saved_tensors
        y, w, x, g = args[0], args[1], args[2 : 2 + n], args[2 + n :]
        need = ctx.needs_input_grad[3:]
        flags = {"y": need[0], "w": need[1], "x": any(need[2 : 2 + n]), "g": any(need[2 + n :])}
        by_y, by_w, by_x = cotangents[0], cotangents[1], cotangents[2:]
        # The cotangent of a derivative stands in for the argument it was taken by.
        replaced: list[tuple[str, tuple[Tensor, ...]]] = []
        if by_y is not None:
            replaced.append(("y", (by_y, w, *x)))
        if by_w is not None:
            replaced.append(("w", (y, by_w, *x)))
        if any(part is not None for part in by_x):
            filled = (
                torch.zeros_like(old) if new is None else new
                for new, old in zip(by_x, x, strict=True)
            )
            replaced.append(("x", (y, w, *filled)))
        total: list[Tensor | None] = [None] * len(args)
        for name, inputs in replaced:
            wanted = "".join(k for k in "xyw" if flags[k] and k != name)
            parts = list(_derive(layout, edges, wanted, inputs, g))
            parts += [None] * len(g)
            if flags["g"]:
                inputs = tuple(part.contiguous() for part in inputs)
                parts[2 + n :] = _Product.apply(layout, edges, *inputs)  # type: ignore[no-untyped-call]
            total = [_sum(a, b) for a, b in zip(total, parts, strict=True)]
        return None, None, None, *total


def _wanted(ctx: Any) -> str:
    need = ctx.needs_input_grad[2:]
    flags = {"x": any(need[2:]), "y": need[0], "w": need[1]}
    return "".join(name for name in "xyw" if flags[name])


def _derive(
    layout: Layout, edges: Edges, wanted: str, inputs: tuple[Tensor, ...], g: tuple[Tensor, ...]
) -> tuple[Any, ...]:
    """Return the derivatives by Y, w and every x, None where not wanted."""
    if not wanted:
        return (None,) * len(inputs)
    args = (part.contiguous() for part in (*inputs, *g))
    return tuple(_Gradients.apply(layout, edges, wanted, *args))  # type: ignore[no-untyped-call]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
