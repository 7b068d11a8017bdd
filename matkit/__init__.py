"""Molecular and materials modelling: potentials, Hessians and generators on one graph layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from matkit.models.zoo import load, load_calculator
    from matkit.simulate import md, relax, singlepoint

_HOME = {
    "load": "models.zoo",
    "load_calculator": "models.zoo",
    "md": "simulate",
    "relax": "simulate",
    "singlepoint": "simulate",
}
__all__ = ["__version__", "load", "load_calculator", "md", "relax", "singlepoint"]

__getattr__ = exports(__name__, _HOME)
