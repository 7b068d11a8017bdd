"""The folder of a screening: table, survivors, summary and page."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.extxyz import write_extxyz
from matplotlib.figure import Figure

from matkit.crystals.reading import crystal_of
from matkit.report.figures import png
from matkit.report.json_files import json_bytes
from matkit.report.pages import render
from matkit.report.structures import scene
from matkit.runs.atomic import write_atomically
from matkit.runs.items import Shard
from matkit.screen.options import ScreenOptions
from matkit.screen.verdicts import Screening, columns

FILES = {
    "table": "table{}.csv",
    "survivors": "survivors{}.extxyz",
    "cif": "survivors{}.zip",
    "summary": "summary{}.json",
    "report": "report{}.html",
}
# What is shown on the page; the table has all.
MOST_ROWS, PICTURES = 200, 12


def paths_of(options: ScreenOptions, shard: Shard) -> dict[str, Path]:
    """Return the files of results beside those of the steps."""
    return {kind: Path(options.out) / name.format(shard.suffix) for kind, name in FILES.items()}


def write_results(screening: Screening, options: ScreenOptions) -> None:
    """Write everything into the files of a screening, its document last."""
    paths = screening.files
    write_atomically(paths["table"], as_csv(screening.rows, columns(options)).encode())
    write_atomically(paths["survivors"], _extxyz(screening.survivors).encode())
    write_atomically(paths["cif"], _archive(screening.survivors))
    write_atomically(paths["report"], _page(screening, options).encode())
    write_atomically(paths["summary"], json_bytes(screening.document))


def as_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _extxyz(crystals: Mapping[int, Atoms]) -> str:
    stream = io.StringIO()
    for atoms in crystals.values():
        write_extxyz(stream, [atoms])
    return stream.getvalue()


def _archive(crystals: Mapping[int, Atoms]) -> bytes:
    """Return the crystals as CIF files in a zip archive."""
    from pymatgen.io.cif import CifWriter

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for number, atoms in crystals.items():
            structure = crystal_of(atoms, "").structure
            assert structure is not None  # of one that was relaxed
            name = f"{number:05d}-{structure.composition.reduced_formula}.cif"
            # A fixed date: the same crystals make the same archive.
            file.writestr(zipfile.ZipInfo(name), str(CifWriter(structure)))
    return stream.getvalue()


def _page(screening: Screening, options: ScreenOptions) -> str:
    names = columns(options)
    rows = [[row.get(name) for name in names] for row in screening.rows[:MOST_ROWS]]
    energies = [row["above_hull"] for row in screening.rows if row.get("above_hull") is not None]
    shown = list(screening.survivors.items())[:PICTURES]
    return render(
        "screening",
        title="Screening",
        files=[path.name for kind, path in screening.files.items() if kind != "report"],
        counts=screening.counts,
        table=[[name.replace("_", " ") for name in names], *rows],
        more=max(0, len(screening.rows) - MOST_ROWS),
        histogram=png(_histogram(energies)) if energies else None,
        scenes=[
            scene([atoms], [f"{number}: {atoms.get_chemical_formula('metal')}"])
            for number, atoms in shown
        ],
        **{name: screening.document[name] for name in ("thresholds", "options", "versions")},
        model=screening.document["model"],
    )


def _histogram(energies: Sequence[float]) -> Figure:
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist([1000 * energy for energy in energies], bins=40)
    axes.set_xlabel("energy above the hull (meV/atom)")
    axes.set_ylabel("crystals")
    return figure
