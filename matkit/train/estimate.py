"""What a training will cost, from a few steps of it."""

from __future__ import annotations

import itertools
import resource
import sys
import time
from typing import NamedTuple

import torch

from matkit.train.loop import Trainer

# Steps before the measured ones, which compile kernels, and measured ones.
WARM_UP, MEASURED = 2, 8


class Estimate(NamedTuple):
    """Cost of a training.

    Attributes:
        parameters: Trainable parameters.
        steps: Optimiser steps in all.
        step_time: Seconds per step.
        total_time: Seconds in all, validations included.
        memory: Largest memory so far in bytes: of the process, or on the GPU.
    """

    parameters: int
    steps: int
    step_time: float
    total_time: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters; {self.steps:,} steps of {1e3 * self.step_time:.0f} "
            f"ms; about {_duration(self.total_time)}; {self.memory / 2**20:,.0f} MiB of memory"
        )


def estimate(trainer: Trainer) -> Estimate:
    """Do a few steps and one validation and extrapolate; the model is spoilt by it."""
    options = trainer.options
    trainer.forward = trainer.fabric.setup_module(trainer.objective)
    graphs = itertools.islice(itertools.cycle(trainer.batched.train), WARM_UP + MEASURED)
    times = []
    for graph in graphs:
        begin = time.perf_counter()
        trainer.step(graph.to(trainer.fabric.device), 0.0)
        times.append(time.perf_counter() - begin)
    step_time = sum(times[WARM_UP:]) / max(1, len(times) - WARM_UP)
    begin = time.perf_counter()
    trainer.validate(trainer.batched.valid)
    validation = time.perf_counter() - begin
    steps = len(trainer.batched.order) * options.max_num_epochs
    validations = 1 + options.max_num_epochs / options.eval_interval
    total = steps * step_time + validation * validations
    parameters = sum(p.numel() for p in trainer.objective.parameters() if p.requires_grad)
    return Estimate(parameters, steps, step_time, total, _memory(trainer.fabric.device))


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
