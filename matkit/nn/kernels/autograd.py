"""The fused convolution as autograd Functions, differentiable to any order.

The scalar S(x, Y, w, g) = <g, conv(x, Y, w)> is linear in each argument, so its four partial
derivatives are closed under differentiation: the derivative of each is again one of the four with
an argument replaced. No autograd runs inside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels.backends import Kernels
from matkit.nn.kernels.fused import Edges
from matkit.nn.kernels.paths import Layout
from matkit.nn.needed_inputs import needed_inputs


class Setting(NamedTuple):
    """What all derivatives of a convolution have in common."""

    kernels: Kernels
    layout: Layout
    edges: Edges


def convolve(setting: Setting, x: Features, harmonics: Tensor, weights: Tensor) -> Features:
    """Return the convolution, differentiable to any order."""
    args = (harmonics.contiguous(), weights.contiguous(), *(part.contiguous() for part in x))
    return tuple(_Product.apply(setting, *args))  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    """g-derivative of S: the convolution itself."""

    @staticmethod
    def forward(ctx: Any, setting: Setting, *args: Tensor) -> tuple[Tensor, ...]:
        ctx.setting = setting
        ctx.save_for_backward(*args)
        harmonics, weights, *x = args
        return setting.kernels.product(setting.layout, tuple(x), harmonics, weights, setting.edges)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Any, ...]:
        need = needed_inputs(ctx)
        flags = {"x": any(need[2:]), "y": need[0], "w": need[1]}
        variables = "".join(name for name in "xyw" if flags[name])
        return None, *_derive(ctx.setting, variables, ctx.saved_tensors, g)


class _Gradients(torch.autograd.Function):
    """x-, Y- and w-derivatives of S."""

    @staticmethod
    def forward(ctx: Any, setting: Setting, variables: str, *args: Tensor) -> tuple[Any, ...]:
        ctx.setting = setting
        ctx.save_for_backward(*args)
        ctx.set_materialize_grads(False)
        n = len(setting.layout.sources)
        harmonics, weights, x, g = args[0], args[1], args[2 : 2 + n], args[2 + n :]
        inputs = (x, harmonics, weights)
        found = setting.kernels.gradients(setting.layout, inputs, g, setting.edges, variables)
        return found.harmonics, found.weights, *(found.x or [None] * n)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        setting, args = ctx.setting, ctx.saved_tensors
        n = len(setting.layout.sources)
        y, w, x, g = args[0], args[1], args[2 : 2 + n], args[2 + n :]
        need = needed_inputs(ctx)
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
            variables = "".join(k for k in "xyw" if flags[k] and k != name)
            parts = list(_derive(setting, variables, inputs, g))
            parts += [None] * len(g)
            if flags["g"]:
                inputs = tuple(part.contiguous() for part in inputs)
                parts[2 + n :] = _Product.apply(setting, *inputs)  # type: ignore[no-untyped-call]
            total = [_sum(a, b) for a, b in zip(total, parts, strict=True)]
        return None, None, *total


def _derive(
    setting: Setting, variables: str, inputs: tuple[Tensor, ...], g: tuple[Tensor, ...]
) -> tuple[Any, ...]:
    """Return the derivatives by Y, w and every x, None where not asked for."""
    if not variables:
        return (None,) * len(inputs)
    args = (part.contiguous() for part in (*inputs, *g))
    return tuple(_Gradients.apply(setting, variables, *args))  # type: ignore[no-untyped-call]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
