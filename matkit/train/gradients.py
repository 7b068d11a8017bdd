"""Gradients: clipping, and noticing parameters that never get one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from matkit.errors import TrainingError


def clip(parameters: Iterable[Tensor], limit: float) -> bool:
    """Scale all gradients down so that their norm is at most `limit` (0: any).

    Returns:
        Whether the norm is a finite number; if not, nothing is scaled.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if not bool(torch.isfinite(norm)):
        return False
    if limit and float(norm) > limit:
        torch._foreach_mul_(gradients, limit / norm)
    return True


# Steps before a judgement: what begins at zero passes no gradient on in the first ones.
PATIENCE = 10


class GradientWatch:
    """Finds trainable parameters whose gradient was zero in every step.

    Args:
        module: Module whose parameters are watched.
        may_rest: Tells by its name which parameter needs no gradient.
    """

    def __init__(
        self, module: nn.Module, may_rest: Callable[[str], bool] = lambda name: False
    ) -> None:
        watched = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.silent = {n: p for n, p in watched.items() if not may_rest(n)}
        self.steps = 0

    def look(self) -> None:
        """Strike off the parameters that have a gradient now."""
        self.steps += 1
        if self.silent:
            self.silent = {n: p for n, p in self.silent.items() if not _has_gradient(p)}

    def judge(self) -> None:
        """Refuse to go on with parameters that got none, once enough steps were seen.

        Raises:
            TrainingError: some parameters got no gradient in any of them.
        """
        if self.silent and self.steps >= PATIENCE:
            raise TrainingError(
                f"No gradient reached {', '.join(self.silent)} in any step, so training cannot "
                "change them. Give the label they depend on a weight, or freeze them."
            )


def _has_gradient(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())
