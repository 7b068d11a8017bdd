"""Turns generated source into Triton functions: compiled on a GPU, interpreted on the CPU.

Triton's interpreter (``TRITON_INTERPRET=1``) is slow; it exists to test the kernels without a GPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
from contextlib import nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from matkit.errors import ConfigError, MissingExtraError


@cache
def installed() -> bool:
    """Return whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def usable(device: torch.device) -> bool:
    """Return whether kernels can run on a device: a GPU, or the CPU with the interpreter on."""
    if not installed():
        return False
    import triton

    return device.type == "cuda" or (device.type == "cpu" and bool(triton.knobs.runtime.interpret))


def require(device: torch.device) -> None:
    """Refuse a device that kernels cannot run on.

    Raises:
        MissingExtraError: Triton is not installed.
        ConfigError: there is neither a GPU nor the interpreter.
    """
    if not installed():
        raise MissingExtraError(
            "The triton backend needs Triton, which comes with torch for CUDA on Linux: "
            "pip install triton. Or use the backend auto."
        )
    if not usable(device):
        raise ConfigError(
            f"Expected tensors on a GPU for the triton backend, got them on {device}. Use the "
            "backend auto, or set TRITON_INTERPRET=1 to test the kernels without a GPU."
        )


def function(text: str, name: str, device: torch.device) -> Any:
    """Return a Triton function of generated source, ready for tensors on a device.

    Args:
        text: Source of a module.
        name: Name of the function in it.
        device: Where the tensors are.

    Raises:
        MissingExtraError: Triton is not installed.
        ConfigError: there is neither a GPU nor the interpreter.
    """
    require(device)
    return getattr(_module(text, device.type == "cpu"), name)


def launch(text: str, grid: tuple[int, ...], tensors: list[Tensor], *rest: int, warps: int) -> None:
    """Run the function ``kernel`` of generated source.

    Args:
        text: Source of a module.
        grid: Number of programs along each axis; nothing happens if one is zero.
        tensors: First arguments, all on one device.
        rest: Further arguments.
        warps: Warps of a program.
    """
    device = tensors[0].device
    kernel = function(text, "kernel", device)
    if not all(grid):
        return
    # Triton launches on the current device, wherever the tensors are.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[grid](*tensors, *rest, num_warps=warps)


@cache
def _module(text: str, interpreted: bool) -> ModuleType:
    """Run generated source as a module; what is interpreted cannot be compiled and the reverse."""
    import triton

    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    module = ModuleType(f"matkit_triton_{digest}")
    # Triton reads the source of its functions, which need not be a file.
    filename = f"<{module.__name__}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    with triton.knobs.runtime.scope():
        triton.knobs.runtime.interpret = interpreted
        exec(compile(text, filename, "exec"), module.__dict__)
    return module
