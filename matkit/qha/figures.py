"""The picture of the quasi-harmonic approximation."""

from __future__ import annotations

import numpy as np
from ase import units
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matkit.qha.results import QHAResult
from matkit.units import GPA

# Curves of the free energy that are drawn.
CURVES = 6


def qha_figure(result: QHAResult) -> Figure:
    """Return free energies over volumes, and four quantities over the temperature."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplot_mosaic([["curves", "volume", "expansion"], ["curves", "heat", "bulk"]])
    _draw_curves(panels["curves"], result)
    count = result.primitive_atoms
    drawn = {
        "volume": (result.volume / count, "volume (Å³/atom)"),
        "expansion": (1e6 * result.expansion, "thermal expansion (10⁻⁶/K)"),
        "heat": (result.heat_capacity / units.kB / count, "heat capacity per atom (units of k)"),
        "bulk": (result.bulk_modulus / GPA, "bulk modulus (GPa)"),
    }
    for name, (values, label) in drawn.items():
        panels[name].plot(result.temperatures, values, color="tab:blue", linewidth=1)
        panels[name].set(xlabel="temperature (K)", ylabel=label)
    figure.suptitle(f"{result.atoms.symbols}, quasi-harmonic approximation")
    return figure


def _draw_curves(axes: Axes, result: QHAResult) -> None:
    """Draw free energies over volumes at some temperatures, and the line of their minima."""
    count, last = result.primitive_atoms, len(result.temperatures) - 1
    for i in sorted(set(np.linspace(0, last, CURVES).round().astype(int).tolist())):
        energies = result.free_energies[i] / count
        label = f"{result.temperatures[i]:.0f} K"
        axes.plot(result.volumes / count, energies, "o-", linewidth=1, markersize=3, label=label)
    axes.plot(result.volume / count, result.gibbs / count, color="black", label="minimum")
    axes.set(xlabel="volume (Å³/atom)", ylabel="free energy (eV/atom)")
    axes.legend(fontsize="small", loc="upper right")
