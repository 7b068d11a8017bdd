"""Which compiled kernels serve which device; the only place that knows."""

from __future__ import annotations

import logging
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels import fused, triton_backend, triton_loader
from matkit.nn.kernels.fused import Edges, Gradients, Inputs, Weights
from matkit.nn.kernels.paths import Layout

logger = logging.getLogger(__name__)


@runtime_checkable
class Kernels(Protocol):
    """The two functions of a backend; modules `fused` and `triton_backend` have them."""

    def product(
        self, layout: Layout, x: Features, harmonics: Tensor, weights: Weights, edges: Edges
    ) -> Features:
        """Return the convolution, without autograd."""

    def gradients(
        self, layout: Layout, inputs: Inputs, g: Features, edges: Edges, variables: str = "xyw"
    ) -> Gradients:
        """Return derivatives of <g, conv(x, Y, w)>, without autograd."""


NAMED: dict[str, Kernels] = {"fused": fused, "triton": triton_backend}


def name_for(device: torch.device) -> str | None:
    """Return the name of the kernels for a device, or None if there are none."""
    if device.type == "cpu":
        return "fused"
    if device.type == "cuda" and not triton_loader.installed():
        _say_that_triton_is_missing()
    return "triton" if triton_loader.usable(device) else None


def kernels_for(device: torch.device) -> Kernels:
    """Return the kernels for a device that `name_for` has a name for."""
    return NAMED[name_for(device) or "triton"]


@cache
def _say_that_triton_is_missing() -> None:
    logger.warning(
        "Triton is not installed, so the GPU runs the reference convolution, which is much slower "
        "and takes more memory: pip install triton."
    )
