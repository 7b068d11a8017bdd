"""Generated crystals as a table, an archive of CIF files and sections of a page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ase import Atoms

from matkit.crystals.generation.phases import SYMPREC, Phase, maker_cells, phase_cells
from matkit.crystals.judging import SYMPRECS
from matkit.crystals.pages import PICTURES, histograms
from matkit.crystals.reading import crystal_of
from matkit.crystals.writing import UNITS, entry_row
from matkit.evaluate.scores import Score, score_cells, score_documents, score_lines
from matkit.generate.batch import Batch
from matkit.generate.mixture import MAKER
from matkit.report.figures import png
from matkit.report.pages import render
from matkit.report.structures import Scene, scene
from matkit.report.tables import as_text

# What generators call a property that they predict of what they made.
PREDICTED: Final = "predicted_"
# Phases that a terminal shows.
SHOWN: Final = 10


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Return one row for each crystal, and for each that failed."""
    place = {batch.number(atoms): i for i, atoms in enumerate(batch.generated)}
    table_rows, ranks = [], _ranks(batch)
    for number, row in sorted(batch.rows.items()):
        found: dict[str, Any] = {"crystal": number}
        if batch.evaluation is not None and number in place:
            found |= entry_row(batch.evaluation.drawn, place[number])
            info = batch.generated[place[number]].info
            said = {k: v for k, v in info.items() if k == MAKER or k.startswith(PREDICTED)}
            found |= said
        found |= {name: row.get(name, "") for name in ("seconds", "redrawn", "reason")}
        table_rows.append(found | (_relaxation(batch, number, ranks) if batch.relaxation else {}))
    return table_rows


def _ranks(batch: Batch) -> dict[int, int]:
    """Return for each relaxed crystal the rank of its phase in the report."""
    ranked = enumerate(phases_of(batch), 1)
    return {number: rank for rank, phase in ranked for number in phase.members}


def _relaxation(batch: Batch, number: int, ranks: Mapping[int, int]) -> dict[str, Any]:
    row = batch.relaxation.get(number, {})
    names = ("energy_before", "energy_after", "relaxation_steps")
    found = {name: row.get(name, "") for name in names}
    found["relaxed"] = row.get("status", "") == "done"
    known = {} if batch.evaluation is None else batch.evaluation.relaxed_groups
    groups = known.get(number, (None,) * len(SYMPRECS))
    for symprec, group in zip(SYMPRECS, groups, strict=True):
        found[f"relaxed_space_group_{symprec:g}"] = "" if group is None else group
    phase = ranks.get(number, "")
    return found | {"phase": phase, "relaxation_reason": row.get("reason", "")}


def archive(batch: Batch, dedupe: bool) -> bytes:
    """Return the crystals as CIF files in a zip archive, without repeats if asked.

    Relaxed crystals and phases are made as symmetric as they are within `SYMPREC`.
    """
    repeats = _repeats(batch) if dedupe else set()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for folder, crystals in (("generated", batch.drawn), ("relaxed", batch.relaxed)):
            for number, atoms in sorted(crystals.items()):
                if number not in repeats:
                    symprec = SYMPREC if folder == "relaxed" else None
                    _add_cif(file, f"{folder}/{number:05d}", atoms, symprec)
        for rank, phase in enumerate(phases_of(batch), 1):
            _add_cif(file, f"phases/{rank:03d}", phase.atoms, SYMPREC)
    return stream.getvalue()


def _add_cif(file: zipfile.ZipFile, stem: str, atoms: Atoms, symprec: float | None) -> None:
    from pymatgen.io.cif import CifWriter

    structure = crystal_of(atoms, "").structure
    if structure is None:
        return
    name = f"{stem}-{structure.composition.reduced_formula}.cif"
    try:
        text = str(CifWriter(structure, symprec=symprec))
    except (TypeError, ValueError):  # spglib finds no symmetry in it
        text = str(CifWriter(structure))
    # A fixed date: the same crystals make the same archive.
    file.writestr(zipfile.ZipInfo(name), text)


def phases_of(batch: Batch) -> Sequence[Phase]:
    """Return the phases of the relaxed crystals."""
    return () if batch.evaluation is None else batch.evaluation.phases


def _repeats(batch: Batch) -> set[int]:
    """Return the numbers of crystals that match an earlier one."""
    assert batch.evaluation is not None
    like = batch.evaluation.drawn.generated.repeats.like
    pairs = zip(batch.generated, like, strict=True)
    return {batch.number(atoms) for atoms, same in pairs if same is not None}


def scores(batch: Batch) -> list[dict[str, Any]]:
    """Return the scores as documents."""
    return score_documents(_scores(batch))


def _scores(batch: Batch) -> list[Score]:
    found = batch.evaluation
    return [] if found is None else [*found.scores, *found.drawn.scores]


def lines(batch: Batch) -> list[str]:
    """Return the phases and scores as lines for a terminal."""
    if batch.evaluation is None:
        return []
    found = phases_of(batch)
    table = as_text(phase_cells(found[:SHOWN])).splitlines() if found else []
    more = [f"... and {len(found) - SHOWN} more phases"] if len(found) > SHOWN else []
    makers = as_text(maker_cells(found)).splitlines() if maker_cells(found) else []
    return [*table, *more, *makers, *score_lines(_scores(batch))]


def sections(batch: Batch) -> list[str]:
    """Return what the page says of the crystals."""
    if batch.evaluation is None:
        return [render("generated_crystals", units=UNITS, scores=[])]
    found = phases_of(batch)
    return [
        render(
            "generated_crystals",
            units=UNITS,
            phases=phase_cells(found) if found else [],
            makers=maker_cells(found),
            phase_scenes=[_scene_of(rank, phase) for rank, phase in enumerate(found[:PICTURES], 1)],
            symprec=SYMPREC,
            scores=score_cells(_scores(batch)),
            scenes=scenes(batch),
            histograms=png(histograms(batch.evaluation.drawn.generated, None)),
        )
    ]


def _scene_of(rank: int, phase: Phase) -> Scene:
    above = f"{1e3 * phase.above_best:.1f} meV/atom above the best"
    return scene([phase.atoms], [f"{rank}: {phase.formula}, {phase.symbol}, {above}"])


def scenes(batch: Batch) -> list[Scene]:
    """Return the first crystals for the viewer, as they were drawn."""
    shown = sorted(batch.drawn.items())[:PICTURES]
    return [
        scene([atoms], [f"{number}: {atoms.get_chemical_formula('metal')}"])
        for number, atoms in shown
    ]
