"""Where and how precisely networks compute."""

from __future__ import annotations

import copy

import torch

from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Potential

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def find_device(device: str | torch.device) -> torch.device:
    """Return the device that is meant; `auto` is the GPU if there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device  # with its number
    # torch says "not compiled with CUDA" by AssertionError, the rest by RuntimeError.
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"Cannot compute on device {str(device)!r} ({str(error).splitlines()[0]}). Use cpu, "
            "auto, or a device that `matkit doctor` lists."
        ) from error


def find_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return the floating-point type that is meant, `float32` or `float64`.

    Raises:
        ConfigError: it is neither.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}.{did_you_mean(name, DTYPES)}")
    return DTYPES[name]


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's own generators of the CPU and of a device.

    `torch.manual_seed` would keep a note, with the stack of calls as text, for every kind of
    device that is not in use: half a millisecond in each step, and memory that grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def placed(potential: Potential, device: torch.device, dtype: torch.dtype) -> Potential:
    """Return the potential in evaluation mode, as a copy if anything must change."""
    place = next(potential.parameters()).device
    same_place = place.type == device.type and device.index in (None, place.index)
    if same_place and potential.dtype == dtype and not potential.training:
        return potential
    return copy.deepcopy(potential).to(device, dtype).eval()
