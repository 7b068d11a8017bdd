"""Predictions that do not depend on how a structure lies, of any network or calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.symmetrize.api import symmetrize
    from matkit.symmetrize.calculator import SymmetrizedCalculator
    from matkit.symmetrize.residual import rotational_residual

_HOME = {
    "SymmetrizedCalculator": "calculator",
    "rotational_residual": "residual",
    "symmetrize": "api",
}
__all__ = ["SymmetrizedCalculator", "rotational_residual", "symmetrize"]

__getattr__ = exports(__name__, _HOME)
