"""Files of an analysis: tables, pictures, a document and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matkit.analysis.figures import analysis_figures
from matkit.analysis.results import TrajectoryAnalysis
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.report.pages import render
from matkit.report.tables import number
from matkit.runs.atomic import write_atomically

TABLES = ("rdf", "msd", "vacf", "vdos", "curves")
FIGURES = ("rdf", "msd", "vdos", "curves")
CAPTIONS = {
    "rdf": "Radial distribution",
    "msd": "Mean square displacement",
    "vdos": "Velocities and vibrations",
    "curves": "Over time",
}


def analysis_files(base: Path) -> dict[str, Path]:
    """Return all files that an analysis may have, by kind, such as ``salt-rdf.csv``."""
    ends = {f"{name}_table": f"-{name}.csv" for name in TABLES}
    ends |= {f"{name}_figure": f"-{name}.png" for name in FIGURES}
    ends |= {"document": "-analysis.json", "page": "-analysis.html"}
    return {kind: base.with_name(base.name + end) for kind, end in ends.items()}


def write_analysis(
    found: TrajectoryAnalysis, base: Path, document: Mapping[str, Any]
) -> list[Path]:
    """Write all files of an analysis and return their names.

    Args:
        found: What was found.
        base: Beginning of the names.
        document: What else the JSON document says: command, options and versions.
    """
    files = analysis_files(base)
    content = {f"{name}_table": _csv(table) for name, table in found.tables().items()}
    images = {name: png(figure) for name, figure in analysis_figures(found).items()}
    content |= {f"{name}_figure": image for name, image in images.items()}
    facts = plain({**document, **found.row()})
    content |= {"document": json_bytes(facts), "page": _page(found, images, facts).encode()}
    for kind, path in files.items():
        if kind in content:
            write_atomically(path, content[kind])
        else:
            path.unlink(missing_ok=True)  # of an analysis that is replaced
    return [files[kind] for kind in content]


def diffusion_cells(found: TrajectoryAnalysis) -> list[list[str]]:
    """Return the cells of a table of coefficients; nothing without diffusion."""
    d = found.diffusion
    if d is None:
        return []
    rows = [
        [name, f"{1e-4 * value:.3g}", f"{1e-4 * d.errors[name]:.2g}", f"{d.exponents[name]:.2f}"]
        for name, value in d.coefficients.items()
    ]
    return [["", "diffusion (cm²/s)", "error", "exponent"], *rows]


def curve_cells(found: TrajectoryAnalysis) -> list[list[str]]:
    """Return the cells of a table of means; nothing without curves."""
    rows = [
        [name, number(float(np.mean(values))), number(float(np.std(values)))]
        for name, values in list(found.curves.items())[1:]
    ]
    return [["", "mean", "standard deviation"], *rows] if rows else []


def _csv(table: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{value:.8g}" for value in row])
    return buffer.getvalue().encode()


def _page(found: TrajectoryAnalysis, images: Mapping[str, bytes], facts: Mapping[str, Any]) -> str:
    return render(
        "analysis",
        title=f"Trajectory of {found.formula}",
        frames=found.frames,
        interval=found.interval,
        remarks=found.remarks,
        window=found.diffusion.window if found.diffusion else (),
        blocks=found.diffusion.blocks if found.diffusion else 0,
        diffusion=diffusion_cells(found),
        curves=curve_cells(found),
        images={CAPTIONS[name]: image for name, image in images.items()},
        settings=facts["options"],
        versions=facts["versions"],
    )
