"""Histograms of energies and forces, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from matkit.data.dataset import Dataset
from matkit.data.fingerprints import Array
from matkit.runs.atomic import write_atomically

BINS = 60


def draw_histograms(
    sets: Mapping[str, Dataset], residuals: Mapping[str, list[float]], folder: str | Path
) -> list[Path]:
    """Draw ``energies.png`` and ``forces.png`` into a folder.

    Args:
        sets: Data sets by name.
        residuals: Energies of each less the reference energies, in eV/atom.
        folder: Made if it is not there.

    Returns:
        The files; one without anything to show is left out.
    """
    folder = Path(folder)
    energies = {name: np.array(values) for name, values in residuals.items()}
    forces = {name: one.structures.atom["forces"].flatten().numpy() for name, one in sets.items()}
    label = "energy less reference energies (eV/atom)"
    drawn = [
        _draw(energies, label, folder / "energies.png"),
        _draw(forces, "force component (eV/Å)", folder / "forces.png"),
    ]
    return [path for path in drawn if path is not None]


def _draw(values: Mapping[str, Array], label: str, path: Path) -> Path | None:
    # Not pyplot: it would choose a window system and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = {name: v[np.isfinite(v)] for name, v in values.items() if np.isfinite(v).any()}
    if not known:
        return None
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(known.values())), BINS)
    for name, numbers in known.items():
        axes.hist(numbers, edges.tolist(), histtype="step", label=f"{name} ({len(numbers)})")
    # Rare values are the ones to look at.
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("number")
    axes.legend(loc="upper right")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    return write_atomically(path, image.getvalue())
