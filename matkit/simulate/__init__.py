"""Single points, relaxation and molecular dynamics with any ASE calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matkit.simulate.dynamics import md
    from matkit.simulate.options import MDOptions, RelaxOptions, SinglepointOptions
    from matkit.simulate.relaxation import relax
    from matkit.simulate.results import MDResult, Progress, RelaxResult, SinglepointResult
    from matkit.simulate.static import singlepoint

_HOME = {
    "MDOptions": "options",
    "MDResult": "results",
    "Progress": "results",
    "RelaxOptions": "options",
    "RelaxResult": "results",
    "SinglepointOptions": "options",
    "SinglepointResult": "results",
    "md": "dynamics",
    "relax": "relaxation",
    "singlepoint": "static",
}
__all__ = [
    "MDOptions",
    "MDResult",
    "Progress",
    "RelaxOptions",
    "RelaxResult",
    "SinglepointOptions",
    "SinglepointResult",
    "md",
    "relax",
    "singlepoint",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line's help does not wait for ASE."""
    if name not in _HOME:
        raise AttributeError(f"module 'matkit.simulate' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"matkit.simulate.{_HOME[name]}"), name)
