"""The activation silu with its derivatives written out: a third of autograd's passes.

Training on forces differentiates twice. Autograd then takes silu apart into some ten products,
each of which it keeps and differentiates again; on the many points of a spherical grid that is
most of a training step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def smooth_silu(x: Tensor) -> Tensor:
    """Return ``x / (1 + exp(-x))``, differentiable to any order."""
    # torch.func transforms see through plain torch only.
    if torch._C._are_functorch_transforms_active():
        return torch.nn.functional.silu(x)
    return _Silu.apply(x)  # type: ignore[no-untyped-call]


class _Silu(torch.autograd.Function):
    """The function itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _Slope.apply(x, g)  # type: ignore[no-untyped-call]


class _Slope(torch.autograd.Function):
    """Its derivative times `g`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(x, g)
        return torch.ops.aten.silu_backward(g, x)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor, Tensor]:
        x, g = ctx.saved_tensors
        # Beyond the second derivative autograd goes on by itself.
        by_x = g * h * _curvature(x) if torch.is_grad_enabled() else _curvature(x).mul_(g).mul_(h)
        return by_x, _Slope.apply(x, h)  # type: ignore[no-untyped-call]


def _curvature(x: Tensor) -> Tensor:
    """Return the second derivative, s (1 - s) (2 + x (1 - 2 s)) with s the logistic function."""
    s = torch.sigmoid(x)
    if torch.is_grad_enabled():
        return s * (1 - s) * (2 + x * (1 - 2 * s))
    tail = s.mul(-2).add_(1).mul_(x).add_(2)
    # s (1 - s) is what the derivative of the logistic function is made of.
    return torch.ops.aten.sigmoid_backward(tail, s)
