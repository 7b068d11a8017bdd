"""Optimisers and the course of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor
from torch.optim import AdamW, Optimizer

from matkit.errors import ConfigError
from matkit.train.muon import Muon
from matkit.train.options import OptimizerOptions


def optimizers(parameters: Iterable[Tensor], options: OptimizerOptions) -> list[Optimizer]:
    """Return the optimisers of all trainable parameters; only matrices decay.

    `muon` orthogonalises the steps of matrices (Jordan et al. 2024) and leaves vectors and stacks
    of matrices to AdamW.

    Raises:
        ConfigError: nothing is trainable.
    """
    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        raise ConfigError("No parameter is left to train; relax `freeze`.")
    if options.optimizer == "adamw":
        return [_adamw(trainable, options)]
    matrices = [p for p in trainable if p.ndim == 2 and min(p.shape) > 1]
    rest = [p for p in trainable if not (p.ndim == 2 and min(p.shape) > 1)]
    found: list[Optimizer] = [_adamw(rest, options)] if rest else []
    # Steps of the same root mean square as AdamW's, so that one learning rate serves both.
    muon = [Muon(matrices, options.lr, options.weight_decay)] if matrices else []
    return [*muon, *found]


def _adamw(parameters: list[Tensor], options: OptimizerOptions) -> Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    return AdamW(filled, lr=options.lr, amsgrad=options.amsgrad, fused=True)


def learning_rate(progress: float, options: OptimizerOptions) -> float:
    """Return the learning rate after a part `progress` (0 to 1) of all steps.

    It rises linearly during `warmup`, then falls to ``lr * lr_end`` along a line or half a
    cosine, or stays.
    """
    if progress < options.warmup:
        return options.lr * progress / options.warmup
    if options.scheduler == "constant":
        return options.lr
    t = (progress - options.warmup) / (1 - options.warmup)
    shape = 1 - t if options.scheduler == "linear" else (1 + math.cos(math.pi * t)) / 2
    return options.lr * (options.lr_end + (1 - options.lr_end) * shape)
