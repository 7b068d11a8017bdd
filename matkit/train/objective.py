"""The function that is minimised: a batch of graphs to a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from matkit.derivatives import Conservative
from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.train.losses import structure_losses, total_loss, wanted
from matkit.train.options import LossOptions


class Step(NamedTuple):
    """What one batch gives.

    Attributes:
        loss: Weighted loss, to be differentiated.
        means: Unweighted mean loss of each label.
        by_structure: Loss of each structure [B] by label.
    """

    loss: Tensor
    means: dict[str, Tensor]
    by_structure: dict[str, Tensor]


class LowRank(nn.Module):
    """Low-rank changes of matrices, ``W + (alpha / rank) A B`` (Hu et al. 2021, LoRA).

    A is normal and B zero, so that nothing is changed at first. Of a stack of matrices each has
    a change of its own.

    Args:
        parameters: Parameters by name; those with fewer than two dimensions stay as they are.
        rank: Columns of A.
        alpha: Strength.

    Raises:
        ConfigError: no matrix is larger than the rank.
    """

    def __init__(self, parameters: Mapping[str, Tensor], rank: int, alpha: float) -> None:
        super().__init__()
        self.names = [n for n, p in parameters.items() if p.ndim > 1 and min(p.shape[-2:]) > rank]
        if not self.names:
            raise ConfigError(f"No matrix of this model is larger than lora_rank {rank}.")
        self.scale = alpha / rank
        self.first, self.second = nn.ParameterList(), nn.ParameterList()
        for name in self.names:
            weight = parameters[name]
            *stack, rows, columns = weight.shape
            a = torch.randn(*stack, rows, rank, dtype=weight.dtype) / math.sqrt(rank)
            self.first.append(a)
            self.second.append(torch.zeros(*stack, rank, columns, dtype=weight.dtype))

    def merged(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed parameters by name."""
        changes = zip(self.names, self.first, self.second, strict=True)
        return {name: parameters[name] + self.scale * (a @ b) for name, a, b in changes}


class Objective(nn.Module):
    """Loss of a potential on a batch, differentiable by its trainable parameters.

    Args:
        model: Potential with derivatives.
        options: What is minimised.
        low_rank: Changes to train instead of the parameters themselves.
    """

    def __init__(
        self, model: Conservative, options: LossOptions, low_rank: LowRank | None = None
    ) -> None:
        super().__init__()
        self.model, self.options, self.low_rank = model, options, low_rank
        if low_rank is not None:
            model.requires_grad_(False)
        self.names = [name for name, _ in model.named_parameters()]
        self.plain = tuple(model.parameters())

    def forward(self, graph: Graph) -> Step:
        """Return the loss of a batch whose labels are in its fields."""
        labels = wanted(self.options)
        if self.low_rank is None:
            prediction = self.model(graph, labels, True)
        else:
            prediction = functional_call(self.model, self.effective(), (graph, labels, True))
        by_structure = structure_losses(prediction, graph, self.options)
        loss, means = total_loss(by_structure, graph, self.options)
        return Step(loss, means, {key: value.detach() for key, value in by_structure.items()})

    def effective(self) -> dict[str, Tensor]:
        """Return the parameters of the model by name, with low-rank changes applied."""
        parameters: dict[str, Tensor] = dict(zip(self.names, self.plain, strict=True))
        if self.low_rank is None:
            return parameters
        return {**parameters, **self.low_rank.merged(parameters)}


class Average:
    """A copy of a model that follows it: exponential moving average of its parameters.

    Early steps count more, ``decay_t = min(decay, (1 + t) / (10 + t))``, so that random initial
    weights are forgotten.

    Args:
        model: Copy of the model.
        decay: Memory per step; 0 copies.
    """

    def __init__(self, model: Conservative, decay: float) -> None:
        self.model, self.decay = model.requires_grad_(False).eval(), decay
        self.parameters = dict(model.named_parameters())
        model.analytic = False  # its weights change before preparing them could pay off

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Follow the parameters after optimiser step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        theirs = [parameters[name] for name in self.parameters]
        torch._foreach_lerp_(list(self.parameters.values()), theirs, 1 - decay)
