"""Dispersion corrections that are added to any potential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.dispersion.cards import double_counting
    from matkit.dispersion.corrected import DispersionCorrected, with_dispersion
    from matkit.dispersion.d3 import D3

_HOME = {
    "D3": "d3",
    "DispersionCorrected": "corrected",
    "double_counting": "cards",
    "with_dispersion": "corrected",
}
__all__ = ["D3", "DispersionCorrected", "double_counting", "with_dispersion"]

__getattr__ = exports(__name__, _HOME)
