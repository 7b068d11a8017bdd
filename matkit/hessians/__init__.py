"""Second derivatives of the energy: where they come from, and the modes they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.hessians.modes import NormalModes, normal_modes
    from matkit.hessians.start import hessian_function, positive_hessian

_HOME = {
    "NormalModes": "modes",
    "hessian_function": "start",
    "normal_modes": "modes",
    "positive_hessian": "start",
}
__all__ = ["NormalModes", "hessian_function", "normal_modes", "positive_hessian"]

__getattr__ = exports(__name__, _HOME)
