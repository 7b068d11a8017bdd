"""Vibrations of molecules: normal modes and the thermochemistry of the ideal gas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.vibrations.options import VibrationsOptions
    from matkit.vibrations.results import VibrationsResult
    from matkit.vibrations.run import vibrations
    from matkit.vibrations.thermochemistry import Thermochemistry, ideal_gas

_HOME = {
    "Thermochemistry": "thermochemistry",
    "VibrationsOptions": "options",
    "VibrationsResult": "results",
    "ideal_gas": "thermochemistry",
    "vibrations": "run",
}
__all__ = ["Thermochemistry", "VibrationsOptions", "VibrationsResult", "ideal_gas", "vibrations"]

__getattr__ = exports(__name__, _HOME)
