"""The picture of an equation of state."""

from __future__ import annotations

from matplotlib.figure import Figure

from matkit.eos.results import EOSResult
from matkit.units import GPA


def eos_figure(result: EOSResult) -> Figure:
    """Return energies over volumes, both per atom, with the fitted curve."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    count, fit = len(result.atoms), result.fit
    volumes, energies = fit.curve / count
    axes.plot(volumes, energies - fit.energy / count, color="tab:blue", linewidth=1)
    above = result.energies / count - fit.energy / count
    axes.plot(result.volumes / count, above, "o", color="black")
    axes.axvline(fit.volume / count, color="grey", linewidth=0.5)
    axes.set(xlabel="volume (Å³/atom)", ylabel="energy above the minimum (eV/atom)")
    title = f"{result.atoms.symbols}, {fit.equation}: B = {fit.bulk_modulus / GPA:.2f} GPa"
    axes.set_title(title, fontsize="medium")
    return figure
