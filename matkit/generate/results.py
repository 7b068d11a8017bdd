"""What was generated as a table, a document, an archive of CIF files and a page."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from matkit.crystals.judging import SYMPRECS, space_group
from matkit.crystals.pages import histograms
from matkit.crystals.reading import crystal_of
from matkit.crystals.writing import UNITS, entry_row, score_cells, score_documents
from matkit.generate.run import Batch
from matkit.report.figures import png
from matkit.report.html import image, page, paragraph, section, settings, table

# Crystals that are drawn in the report, and the longest edge of one, in Å: ASE draws an edge as
# dashes of 0.3 Å, and that of a failed crystal may have millions.
PICTURES, LONGEST = 12, 100.0


def structure_rows(batch: Batch) -> list[dict[str, Any]]:
    """Return one row for each crystal, and for each that failed."""
    place = {int(atoms.info["crystal"]): i for i, atoms in enumerate(batch.generated)}
    rows = []
    for number, row in sorted(batch.rows.items()):
        found: dict[str, Any] = {"crystal": number}
        if batch.evaluation is not None and number in place:
            found |= entry_row(batch.evaluation, place[number])
        found |= {name: row.get(name, "") for name in ("seconds", "redrawn", "reason")}
        rows.append(found | (_relaxation(batch, number) if batch.relaxation else {}))
    return rows


def _relaxation(batch: Batch, number: int) -> dict[str, Any]:
    row = batch.relaxation.get(number, {})
    names = ("energy_before", "energy_after", "relaxation_steps")
    found = {name: row.get(name, "") for name in names}
    found["relaxed"] = row.get("status", "") == "done"
    groups: Sequence[int | None] = [None] * len(SYMPRECS)
    if number in batch.relaxed:
        structure = crystal_of(batch.relaxed[number], "").structure
        groups = [space_group(structure, symprec) for symprec in SYMPRECS]
    for symprec, group in zip(SYMPRECS, groups, strict=True):
        found[f"relaxed_space_group_{symprec:g}"] = "" if group is None else group
    return found | {"relaxation_reason": row.get("reason", "")}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def archive(batch: Batch, dedupe: bool) -> bytes:
    """Return the crystals as CIF files in a zip archive, without repeats if asked."""
    from pymatgen.io.cif import CifWriter

    repeats = _repeats(batch) if dedupe else set()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for folder, crystals in (("generated", batch.drawn), ("relaxed", batch.relaxed)):
            for number, atoms in sorted(crystals.items()):
                structure = crystal_of(atoms, "").structure
                if structure is None or number in repeats:
                    continue
                name = f"{folder}/{number:05d}-{structure.composition.reduced_formula}.cif"
                # A fixed date: the same crystals make the same archive.
                file.writestr(zipfile.ZipInfo(name), str(CifWriter(structure)))
    return stream.getvalue()


def _repeats(batch: Batch) -> set[int]:
    """Return the numbers of crystals that match an earlier one."""
    assert batch.evaluation is not None
    like = batch.evaluation.generated.repeats.like
    pairs = zip(batch.generated, like, strict=True)
    return {int(atoms.info["crystal"]) for atoms, same in pairs if same is not None}


def counts(batch: Batch) -> dict[str, Any]:
    """Return how many crystals there are of each kind, and how fast they came."""
    seconds = [row["seconds"] for row in batch.rows.values() if "seconds" in row]
    total = sum(seconds)
    found = {
        "asked": len(batch.rows),
        "generated": len(batch.generated),
        "failed": sum(row["status"] == "failed" for row in batch.rows.values()),
        "impossible": sum(row["status"] == "rejected" for row in batch.rows.values()),
        "redrawn": sum(row.get("redrawn", 0) > 0 for row in batch.rows.values()),
        "network_calls_per_crystal": batch.network_calls,
        "crystals_per_second": len(seconds) / total if total else None,
    }
    if batch.relaxation:
        states = [row["status"] for row in batch.relaxation.values()]
        found |= {
            "relaxed": states.count("done"),
            "relaxation_failed": states.count("failed"),
            "not_worth_relaxing": states.count("rejected"),
        }
    return found


def scores(batch: Batch) -> list[dict[str, Any]]:
    """Return the scores as documents."""
    return [] if batch.evaluation is None else score_documents(batch.evaluation.scores)


def render(batch: Batch, metrics: Mapping[str, Any]) -> str:
    """Return the report, a page in one file."""
    parts = [
        paragraph("Every number is in metrics.json, every crystal in structures.csv."),
        paragraph(UNITS),
        section("Crystals", [settings(metrics["counts"])]),
    ]
    if batch.evaluation is not None:
        pictures = image(png(pictures_of(batch)), "crystals")
        generated = batch.evaluation.generated
        parts += [
            section("Scores", [table(score_cells(batch.evaluation.scores), 1)]),
            section("Some of them", [pictures]),
            section("Distributions", [image(png(histograms(generated, None)), "histograms")]),
        ]
    parts += [
        section("Settings", [settings(metrics["options"])]),
        section("Model", [settings(metrics["model"])]),
        section("Versions", [settings(metrics["versions"])]),
    ]
    return page("Generated crystals", parts)


def pictures_of(batch: Batch) -> Figure:
    """Return a figure of the first crystals, seen slightly from the side."""
    from ase.visualize.plot import plot_atoms

    shown = sorted((batch.relaxed or batch.drawn).items())[:PICTURES]
    rows = max(1, int(np.ceil(len(shown) / 4)))
    figure = Figure(figsize=(10.5, 2.8 * rows), layout="constrained")
    for axes, (number, atoms) in zip(figure.subplots(rows, 4).flat, shown, strict=False):
        title = f"{number}: {atoms.get_chemical_formula('metal')}"
        longest = max(atoms.cell.lengths())
        if longest > LONGEST:
            title += f", {longest:.3g} Å long: not drawn"
        else:
            plot_atoms(_wrapped(atoms), axes, rotation="10x,-15y", show_unit_cell=2)
        axes.set_title(title, fontsize=9)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def _wrapped(atoms: Atoms) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    copy.wrap()
    return copy
