"""Vibrations of molecules: normal modes and the thermochemistry of the ideal gas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matkit.vibrations.modes import NormalModes, normal_modes
    from matkit.vibrations.options import VibrationsOptions
    from matkit.vibrations.results import VibrationsResult
    from matkit.vibrations.run import vibrations
    from matkit.vibrations.thermochemistry import Thermochemistry, ideal_gas

_HOME = {
    "NormalModes": "modes",
    "Thermochemistry": "thermochemistry",
    "VibrationsOptions": "options",
    "VibrationsResult": "results",
    "ideal_gas": "thermochemistry",
    "normal_modes": "modes",
    "vibrations": "run",
}
__all__ = [
    "NormalModes",
    "Thermochemistry",
    "VibrationsOptions",
    "VibrationsResult",
    "ideal_gas",
    "normal_modes",
    "vibrations",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line's help does not wait for ASE."""
    if name not in _HOME:
        raise AttributeError(f"module 'matkit.vibrations' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"matkit.vibrations.{_HOME[name]}"), name)
