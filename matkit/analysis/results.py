"""What an analysis found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from matkit.analysis.diffusion import Diffusion
from matkit.analysis.distances import RadialDistribution
from matkit.analysis.velocities import VelocityCorrelation


@dataclass(frozen=True)
class TrajectoryAnalysis:
    """What a trajectory tells.

    Attributes:
        formula: Formula of the frames.
        frames: Number of frames.
        interval: Time between two of them, fs; None if nobody knows.
        distances: Radial distribution, None if there is none.
        diffusion: Mean square displacements, None if there are none.
        velocities: Correlation of velocities, None if there is none.
        curves: By name, such as `temperature_K`, a value for every frame [T].
        remarks: What is missing and why, or is to be taken with care.
    """

    formula: str
    frames: int
    interval: float | None
    distances: RadialDistribution | None
    diffusion: Diffusion | None
    velocities: VelocityCorrelation | None
    curves: Mapping[str, np.ndarray]
    remarks: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """Return everything but long arrays as plain values, fit for JSON."""
        found: dict[str, Any] = {
            "formula": self.formula,
            "frames": self.frames,
            "interval_fs": self.interval,
            "curves": {
                name: {"mean": float(np.mean(values)), "std": float(np.std(values))}
                for name, values in self.curves.items()
            },
            "remarks": list(self.remarks),
        }
        if self.distances is not None:
            found["rdf_peaks_A"] = self.distances.peaks
        if (d := self.diffusion) is not None:
            found["diffusion"] = {
                name: {
                    "coefficient_cm2_per_s": 1e-4 * d.coefficients[name],
                    "error_cm2_per_s": 1e-4 * d.errors[name],
                    "exponent": d.exponents[name],
                }
                for name in d.coefficients
            }
            found |= {"fit_window_ps": list(d.window), "blocks": d.blocks}
        if self.velocities is not None:
            found["highest_wavenumber_per_cm"] = self.velocities.highest
        return found

    def tables(self) -> dict[str, dict[str, np.ndarray]]:
        """Return columns by table: `rdf`, `msd`, `vacf`, `vdos` and `curves`; what there is."""
        found: dict[str, dict[str, np.ndarray]] = {}
        if (r := self.distances) is not None:
            found["rdf"] = {
                "distance_A": r.distances,
                "all": r.total,
                **r.pairs,
                "bin_end_A": r.edges[1:],
                **{f"coordination_{pair}": values for pair, values in r.coordination.items()},
            }
        if self.diffusion is not None:
            msd = {f"msd_{k}_A2": v for k, v in self.diffusion.displacements.items()}
            found["msd"] = {"time_ps": self.diffusion.times, **msd}
        if (v := self.velocities) is not None:
            found["vacf"] = {"time_fs": v.times, **v.correlation}
            found["vdos"] = {"wavenumber_per_cm": v.wavenumbers, **v.states}
        if self.curves:
            found["curves"] = dict(self.curves)
        return found
