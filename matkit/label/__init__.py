"""Labels of structures from any calculator: energies, forces, stresses and Hessians."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.label.hessian_set import HessianSet, read_hessians
    from matkit.label.options import LabellingOptions
    from matkit.label.run import Labelling, label

_HOME = {
    "HessianSet": "hessian_set",
    "Labelling": "run",
    "LabellingOptions": "options",
    "label": "run",
    "read_hessians": "hessian_set",
}
__all__ = ["HessianSet", "Labelling", "LabellingOptions", "label", "read_hessians"]

__getattr__ = exports(__name__, _HOME)
