"""Picture and page about a minimum energy path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase.utils.forcecurve import fit_images
from matplotlib.figure import Figure

from matkit.neb.results import NEBResult
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import scene


def path_figure(result: NEBResult) -> Figure:
    """Return the energies along the path, joined by curves with the slopes of the forces."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    fit = fit_images(result.band.frames)
    axes.plot(fit.fit_path, fit.fit_energies, color="tab:blue", linewidth=1)
    axes.plot(result.lengths, result.energies, "o", color="black")
    axes.set(xlabel="length of the path (Å)", ylabel="energy above the initial structure (eV)")
    axes.set_title(f"{result.atoms.symbols}: {verdict(result)}", fontsize="medium")
    return figure


def verdict(result: NEBResult) -> str:
    """Return the barriers in few words."""
    state = "" if result.band.converged else " (not converged)"
    return f"barrier {result.barrier:.4f} eV, reverse {result.reverse_barrier:.4f} eV{state}"


def path_page(result: NEBResult, metrics: Mapping[str, Any], files: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        result: Result.
        metrics: Content of metrics.json, with `settings`, `model` and `versions`.
        files: Files beside the page.
    """
    places = list(zip(result.lengths.tolist(), result.energies.tolist(), strict=True))
    rows = [[str(i), *place] for i, place in enumerate(places)]
    titles = [f"image {i}, {energy:.3f} eV" for i, (_, energy) in enumerate(places)]
    return render(
        "path",
        title=f"Path of {result.atoms.symbols}",
        verdict=verdict(result),
        remarks=result.messages,
        files=files,
        profile=png(path_figure(result)),
        path=scene(result.band.frames, titles),
        images=[["image", "length (Å)", "energy (eV)"], *rows],
        **{name: metrics[name] for name in ("settings", "model", "versions")},
    )
