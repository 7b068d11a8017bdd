"""Single points, relaxation and molecular dynamics with any ASE calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.simulate.batched.dynamics import MDFiles, md_many
    from matkit.simulate.batched.relaxations import relax_many
    from matkit.simulate.dynamics import md
    from matkit.simulate.options import MDOptions, RelaxOptions, SinglepointOptions
    from matkit.simulate.relaxation import relax
    from matkit.simulate.results import MDResult, RelaxResult, SimulationProgress, SinglepointResult
    from matkit.simulate.static import singlepoint

_HOME = {
    "MDFiles": "batched.dynamics",
    "MDOptions": "options",
    "MDResult": "results",
    "SimulationProgress": "results",
    "RelaxOptions": "options",
    "RelaxResult": "results",
    "SinglepointOptions": "options",
    "SinglepointResult": "results",
    "md_many": "batched.dynamics",
    "md": "dynamics",
    "relax": "relaxation",
    "relax_many": "batched.relaxations",
    "singlepoint_many": "batched.singlepoints",
    "singlepoint": "static",
}
__all__ = [
    "MDFiles",
    "MDOptions",
    "MDResult",
    "RelaxOptions",
    "RelaxResult",
    "SimulationProgress",
    "SinglepointOptions",
    "SinglepointResult",
    "md",
    "md_many",
    "relax",
    "relax_many",
    "singlepoint",
    "singlepoint_many",
]

__getattr__ = exports(__name__, _HOME)
