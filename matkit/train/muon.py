"""Muon: steps along the momentum of a matrix with all singular values brought near one.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; steps are scaled to the root mean
square of AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982). The same as
`torch.optim.Muon` but for its arithmetic: that one rounds to bfloat16, which most CPUs emulate, and
goes from matrix to matrix. Here matrices of one shape are one batch in their own precision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

# Quintic iteration x -> (a + b x² + c x⁴) x of singular values, as steep at zero as it can be.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7


class Muon(Optimizer):
    """Steps of orthogonalised momentum for matrices.

    Args:
        parameters: Matrices.
        lr: Learning rate.
        weight_decay: Decay of the matrices per step, as a part of the learning rate.
        momentum: Memory of the momentum, with Nesterov's look ahead.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Change the parameters by their gradients; a closure is not evaluated."""
        for group in self.param_groups:
            same: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same[parameter.shape, parameter.device, parameter.dtype].append(parameter)
            for parameters in same.values():
                self._step(parameters, group)

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Change matrices of one shape."""
        updates = []
        for parameter in parameters:
            state, gradient = self.state[parameter], parameter.grad
            assert gradient is not None, "left out before"
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            buffer = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            updates.append(gradient.lerp(buffer, group["momentum"]))
        steps = orthogonalised(torch.stack(updates)).unbind()
        rate = group["lr"] * 0.2 * sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, steps, alpha=-rate)


def orthogonalised(matrices: Float[Tensor, "K A B"]) -> Float[Tensor, "K A B"]:
    """Return matrices with the same singular vectors and singular values of about one.

    By Newton and Schulz's iteration, which leaves them between 0.5 and 1.5.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
