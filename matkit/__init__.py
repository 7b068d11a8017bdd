"""Molecular and materials modelling: potentials, Hessians and generators on one graph layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from matkit.simulate import md, relax, singlepoint
    from matkit.zoo import load, load_calculator

_HOME = {
    "load": "matkit.zoo",
    "load_calculator": "matkit.zoo",
    "md": "matkit.simulate",
    "relax": "matkit.simulate",
    "singlepoint": "matkit.simulate",
}
__all__ = ["__version__", "load", "load_calculator", "md", "relax", "singlepoint"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``matkit --help`` does not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'matkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
