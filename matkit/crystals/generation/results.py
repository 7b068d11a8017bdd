"""Generated crystals as a table, an archive of CIF files and sections of a page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from matkit.crystals.judging import SYMPRECS, space_group
from matkit.crystals.pages import PICTURES, histograms
from matkit.crystals.reading import crystal_of
from matkit.crystals.writing import UNITS, entry_row
from matkit.evaluate.scores import score_cells, score_documents, score_lines
from matkit.generate.batch import Batch
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import Scene, scene


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Return one row for each crystal, and for each that failed."""
    place = {batch.number(atoms): i for i, atoms in enumerate(batch.generated)}
    table_rows = []
    for number, row in sorted(batch.rows.items()):
        found: dict[str, Any] = {"crystal": number}
        if batch.evaluation is not None and number in place:
            found |= entry_row(batch.evaluation, place[number])
        found |= {name: row.get(name, "") for name in ("seconds", "redrawn", "reason")}
        table_rows.append(found | (_relaxation(batch, number) if batch.relaxation else {}))
    return table_rows


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
    return {batch.number(atoms) for atoms, same in pairs if same is not None}


def scores(batch: Batch) -> list[dict[str, Any]]:
    """Return the scores as documents."""
    return [] if batch.evaluation is None else score_documents(batch.evaluation.scores)


def lines(batch: Batch) -> list[str]:
    """Return the scores as lines for a terminal."""
    return [] if batch.evaluation is None else score_lines(batch.evaluation.scores)


def sections(batch: Batch) -> list[str]:
    """Return what the page says of the crystals."""
    if batch.evaluation is None:
        return [render("generated_crystals", units=UNITS, scores=[])]
    return [
        render(
            "generated_crystals",
            units=UNITS,
            scores=score_cells(batch.evaluation.scores),
            scenes=scenes(batch),
            histograms=png(histograms(batch.evaluation.generated, None)),
        )
    ]


def scenes(batch: Batch) -> list[Scene]:
    """Return the first crystals for the viewer, relaxed ones if there are any."""
    shown = sorted((batch.relaxed or batch.drawn).items())[:PICTURES]
    return [
        scene([atoms], [f"{number}: {atoms.get_chemical_formula('metal')}"])
        for number, atoms in shown
    ]
