"""Pictures of an analysis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matkit.analysis.diffusion import ALL, Diffusion
from matkit.analysis.distances import RadialDistribution
from matkit.analysis.results import TrajectoryAnalysis
from matkit.analysis.velocities import VelocityCorrelation

# Longest part of a correlation that is drawn, fs.
DRAWN = 2000.0
# Wavenumber where the picture ends: nothing vibrates faster.
HIGHEST = 5000.0
LABELS = {
    "temperature_K": "temperature (K)",
    "potential_eV": "potential energy (eV)",
    "total_eV": "total energy (eV)",
    "volume_A3": "volume (Å³)",
    "pressure_GPa": "pressure (GPa)",
    "energy_std_eV": "deviation of the energy (eV)",
}


def analysis_figures(found: TrajectoryAnalysis) -> dict[str, Figure]:
    """Return the pictures by the names of their files."""
    figures: dict[str, Figure] = {}
    if found.distances is not None:
        figures["rdf"] = rdf_figure(found.distances)
    if found.diffusion is not None:
        figures["msd"] = msd_figure(found.diffusion)
    if found.velocities is not None:
        figures["vdos"] = velocities_figure(found.velocities)
    if len(found.curves) > 1:
        figures["curves"] = curves_figure(found)
    return figures


def rdf_figure(found: RadialDistribution) -> Figure:
    """Return radial distributions."""
    figure, (axes,) = _panels(1)
    axes.plot(found.distances, found.total, color="black", label="all")
    if len(found.pairs) > 1:
        for name, values in found.pairs.items():
            axes.plot(found.distances, values, label=name, linewidth=0.9)
    axes.set(xlabel="distance (Å)", ylabel="g(r)", xlim=(0, found.edges[-1]))
    axes.legend(loc="upper right")
    return figure


def msd_figure(found: Diffusion) -> Figure:
    """Return mean square displacements, with the lines that were fitted."""
    figure, (axes,) = _panels(1)
    window = (found.times >= found.window[0]) & (found.times <= found.window[1])
    for name, values in found.displacements.items():
        color = "black" if name == ALL else None
        (line,) = axes.plot(found.times, values, label=name, color=color)
        times = found.times[window]
        fit = np.polyval(np.polyfit(times, values[window], 1), times)
        axes.plot(times, fit, "--", color=line.get_color(), linewidth=2)
    axes.set(xlabel="time (ps)", ylabel="mean square displacement (Å²)")
    axes.legend(title="dashed: fit", loc="upper left")
    return figure


def velocities_figure(found: VelocityCorrelation) -> Figure:
    """Return correlation of velocities and density of states."""
    figure, (left, right) = _panels(2)
    near = found.times <= DRAWN
    for name in found.correlation:
        style = {"color": "black"} if name == ALL else {"linewidth": 0.9}
        left.plot(found.times[near], found.correlation[name][near], label=name, **style)
        right.plot(found.wavenumbers, found.states[name], label=name, **style)
    left.set(xlabel="time (fs)", ylabel="correlation of velocities")
    right.set(xlabel="wavenumber (1/cm)", ylabel="density of states (cm)")
    right.set_xlim(0, min(found.highest, HIGHEST))
    right.legend(loc="upper right")
    return figure


def curves_figure(found: TrajectoryAnalysis) -> Figure:
    """Return what changes with time."""
    (axis, times), *curves = found.curves.items()
    figure, panels = _panels(len(curves))
    for (name, values), axes in zip(curves, panels, strict=True):
        axes.plot(times / 1000 if axis == "time_fs" else times, values, linewidth=0.8)
        axes.set(xlabel="time (ps)" if axis == "time_fs" else "frame", ylabel=LABELS[name])
        axes.ticklabel_format(useOffset=False)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.2 * count, 3.6), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])
