"""Predictions that do not depend on how a structure lies, of any network or calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.symmetrize.api import symmetrize
    from matkit.symmetrize.calculator import SymmetrizedCalculator
    from matkit.symmetrize.errors import EquivarianceErrors, equivariance_errors
    from matkit.symmetrize.residual import rotational_residual

_HOME = {
    "EquivarianceErrors": "errors",
    "SymmetrizedCalculator": "calculator",
    "equivariance_errors": "errors",
    "rotational_residual": "residual",
    "symmetrize": "api",
}
__all__ = [
    "EquivarianceErrors",
    "SymmetrizedCalculator",
    "equivariance_errors",
    "rotational_residual",
    "symmetrize",
]

__getattr__ = exports(__name__, _HOME)
