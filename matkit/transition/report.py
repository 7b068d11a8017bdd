"""Picture and page about a transition state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import Scene, scene
from matkit.transition.results import CRITERION, TSResult, arc_lengths
from matkit.vibrations.results import mode_table, wavenumber


def profile_figure(result: TSResult) -> Figure:
    """Return energies along the band and along the path."""
    panels = [name for name, there in (("band", result.band), ("irc", result.feet)) if there]
    figure = Figure(figsize=(5.5 * max(1, len(panels)), 3.8), layout="constrained")
    for place, name in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        if name == "band" and result.band is not None:
            _draw_band(axes, result.band.frames, result)
        else:
            _draw_path(axes, result)
    figure.suptitle(f"{result.atoms.symbols}: {verdict(result)}")
    return figure


def _draw_band(axes: Axes, frames: list[Atoms], result: TSResult) -> None:
    lowest = float(frames[0].get_potential_energy())
    energies = [float(frame.get_potential_energy()) - lowest for frame in frames]
    axes.plot(range(len(frames)), energies, "o-", label="images")
    axes.axhline(result.energy - lowest, color="grey", linestyle="--", label="saddle point")
    axes.set(xlabel="image of the band", ylabel="energy above the reactant (eV)")
    axes.legend(loc="upper right")


def _draw_path(axes: Axes, result: TSResult) -> None:
    frames, origin = result.profile()
    energies = [float(frame.get_potential_energy()) - result.energy for frame in frames]
    lengths = arc_lengths(frames, origin)
    axes.plot(lengths, energies, ".-", label="intrinsic reaction coordinate")
    feet = [float(foot.atoms.get_potential_energy()) - result.energy for foot in result.feet]
    axes.plot([lengths[0], lengths[-1]], feet, "s", color="tab:orange", label="relaxed ends")
    axes.plot([0], [0], "^", color="black", label="saddle point")
    axes.set(xlabel="arc length (√amu Å)", ylabel="energy above the saddle point (eV)")
    axes.legend(loc="upper right")


def verdict(result: TSResult) -> str:
    """Return in few words what was found."""
    if not result.converged:
        return "not found"
    named = ", ".join(wavenumber(value) for value in result.imaginary)
    return f"transition state, {named} 1/cm"


def ts_page(result: TSResult, metrics: Mapping[str, Any], files: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        result: Result.
        metrics: Content of metrics.json, with `settings` and `versions`.
        files: Files beside the page.
    """
    has_profile = bool(result.band or result.feet)
    return render(
        "transition_state",
        title=f"Transition state of {result.atoms.symbols}",
        verdict=verdict(result),
        remarks=[*result.problems, *result.warnings],
        files=files,
        facts=_facts(metrics),
        saddle=scene([result.atoms], ["saddle point"]),
        modes=mode_table(result.modes),
        profile=png(profile_figure(result)) if has_profile else b"",
        path=path_scene(result) if has_profile else {},
        feet=_feet(result) if result.feet else [],
        criterion=CRITERION,
        **{name: metrics[name] for name in ("settings", "model", "versions")},
    )


def path_scene(result: TSResult) -> Scene:
    """Return the path from foot to foot, or else the band, for the viewer."""
    if result.feet:
        frames, origin = result.profile()
        places = [f"{length:.2f} √amu Å" for length in arc_lengths(frames, origin)]
    else:
        frames = result.band.frames if result.band is not None else []
        places = [f"image {i}" for i in range(len(frames))]
    energies = [float(frame.get_potential_energy()) - result.energy for frame in frames]
    texts = [f"{place}, {energy:.3f} eV" for place, energy in zip(places, energies, strict=True)]
    return scene(frames, texts)


def _facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the most important numbers; total energies hide theirs in their last digits."""
    keys = ("energy", "max_force", "reason", "steps", "hessians", "barriers", "connects")
    return {key: metrics[key] for key in keys} | {"energy": f"{metrics['energy']:.6f} eV"}


def _feet(result: TSResult) -> list[list[str]]:
    head = ["", "points", "below the saddle point (eV)", "like the reactant", "like the product"]
    rows = [
        [
            f"side {number}",
            str(len(foot.branch.frames)),
            f"{result.energy - float(foot.atoms.get_potential_energy()):.4f}",
            foot.reactant or "-",
            foot.product or "-",
        ]
        for number, foot in enumerate(result.feet, start=1)
    ]
    return [head, *rows]
