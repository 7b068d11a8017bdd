"""The picture of bands, density of states and thermal properties."""

from __future__ import annotations

import numpy as np
from ase import units
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matkit.phonons.path import Segment
from matkit.phonons.results import Bands, PhononsResult, ThermalProperties


def phonon_figure(result: PhononsResult) -> Figure:
    """Return one figure with bands, density of states and thermal properties."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 1, 2))
    _draw_bands(left, result.bands)
    middle.sharey(left)
    middle.plot(result.dos.density, result.dos.frequencies, color="black", linewidth=1)
    middle.set(xlabel="states (1/THz)", xlim=(0, None))
    middle.tick_params(labelleft=False)
    _draw_thermal(right, result.thermal, len(result.phonopy.primitive))
    figure.suptitle(f"{result.phonopy.primitive.formula}, {result.method}")
    return figure


def _draw_bands(axes: Axes, bands: Bands) -> None:
    for distances, frequencies in zip(bands.distances, bands.frequencies, strict=True):
        axes.plot(distances, frequencies, color="tab:blue", linewidth=1)
        axes.axvline(distances[-1], color="grey", linewidth=0.5)
    places = [bands.distances[0][0], *(distances[-1] for distances in bands.distances)]
    axes.set_xticks(places, tick_names(bands.segments))
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.set(xlim=(places[0], places[-1]), ylabel="frequency (THz)")


def tick_names(segments: list[Segment]) -> list[str]:
    """Return the names at the ends of the lines; two where the path jumps."""
    names = [segments[0].start]
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        jump = following is not None and following.start != segment.end
        names.append(f"{segment.end}|{following.start}" if following and jump else segment.end)
    return names


def _draw_thermal(axes: Axes, thermal: ThermalProperties, n_atoms: int) -> None:
    """Draw heat capacity and entropy per atom, in units of the Boltzmann constant."""
    curves = {"heat capacity": thermal.heat_capacity, "entropy": thermal.entropy}
    for name, values in curves.items():
        axes.plot(thermal.temperatures, np.asarray(values) / units.kB / n_atoms, label=name)
    axes.axhline(3, color="grey", linewidth=0.5, linestyle="--")
    axes.set(xlabel="temperature (K)", ylabel="per atom (units of k)")
    axes.legend(loc="upper right")
