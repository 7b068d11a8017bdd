"""What trajectories tell: distances, diffusion, vibrations and curves over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.analysis.diffusion import Diffusion
    from matkit.analysis.distances import RadialDistribution
    from matkit.analysis.options import TrajectoryOptions
    from matkit.analysis.results import TrajectoryAnalysis
    from matkit.analysis.run import analyse
    from matkit.analysis.velocities import VelocityCorrelation

_HOME = {
    "Diffusion": "diffusion",
    "RadialDistribution": "distances",
    "TrajectoryAnalysis": "results",
    "TrajectoryOptions": "options",
    "VelocityCorrelation": "velocities",
    "analyse": "run",
}
__all__ = [
    "Diffusion",
    "RadialDistribution",
    "TrajectoryAnalysis",
    "TrajectoryOptions",
    "VelocityCorrelation",
    "analyse",
]

__getattr__ = exports(__name__, _HOME)
