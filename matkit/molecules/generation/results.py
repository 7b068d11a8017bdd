"""Generated molecules as a table, an archive of SDF and sections of a page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from ase import Atoms

from matkit.builders.smiles import rdkit
from matkit.evaluate.scores import score_cells, score_documents, score_lines
from matkit.generate.batch import Batch
from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.judging import JudgedMolecule
from matkit.molecules.tables import UNITS, drawings, molecule_row, scenes
from matkit.molecules.validity import to_rdkit
from matkit.report.pages import render


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Return one row for each molecule, and for each that failed."""
    places = {batch.number(atoms): place for place, atoms in enumerate(batch.generated)}
    table_rows = []
    for number, row in sorted(batch.rows.items()):
        found: dict[str, Any] = {"molecule": number}
        if number in places:
            found |= molecule_row(batch.drawn[number], batch.evaluation, places[number])
        found |= {name: row.get(name, "") for name in ("seconds", "redrawn")}
        found["reason"] = row.get("reason", "") or found.get("reason", "")
        table_rows.append(found | (_relaxation(batch, number) if batch.relaxation else {}))
    return table_rows


def _judged(batch: Batch) -> dict[int, JudgedMolecule]:
    if batch.evaluation is None:
        return {}
    pairs = zip(batch.generated, batch.evaluation.molecules, strict=True)
    return {batch.number(atoms): found for atoms, found in pairs}


def _relaxation(batch: Batch, number: int) -> dict[str, Any]:
    row = batch.relaxation.get(number, {})
    names = ("energy_before", "energy_after", "relaxation_steps")
    found = {name: row.get(name, "") for name in names}
    return found | {
        "relaxed": row.get("status", "") == "done",
        "relaxation_reason": row.get("reason", ""),
    }


def archive(batch: Batch, dedupe: bool) -> bytes:
    """Return the molecules with their bonds in SDF, in a zip archive, without repeats if asked."""
    judged = _judged(batch)
    chosen = {number for number, found in judged.items() if found.unique or not dedupe}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, molecules in (("generated", batch.drawn), ("relaxed", batch.relaxed)):
            kept = {number: atoms for number, atoms in molecules.items() if number in chosen}
            if kept:
                # A fixed date: the same molecules make the same archive.
                file.writestr(zipfile.ZipInfo(f"{name}.sdf"), _sdf(kept, judged))
    return stream.getvalue()


def _sdf(molecules: Mapping[int, Atoms], judged: Mapping[int, JudgedMolecule]) -> str:
    """Return molecules as SDF; aromatic rings are written with alternating bonds if they can be."""
    chem = rdkit()
    blocks = []
    for number, atoms in sorted(molecules.items()):
        molecule = to_rdkit(structures_with_bonds(atoms))
        molecule.SetProp("_Name", f"molecule {number}")
        valid, smiles = judged[number].verdict.valid, judged[number].verdict.smiles
        if valid:
            chem.SanitizeMol(molecule)
        block = chem.MolToMolBlock(molecule, kekulize=valid)
        blocks.append(f"{block}>  <smiles>\n{smiles}\n\n$$$$\n")
    return "".join(blocks)


def scores(batch: Batch) -> list[dict[str, Any]]:
    """Return the scores as documents."""
    return [] if batch.evaluation is None else score_documents(batch.evaluation.scores)


def lines(batch: Batch) -> list[str]:
    """Return the scores as lines for a terminal."""
    return [] if batch.evaluation is None else score_lines(batch.evaluation.scores)


def sections(batch: Batch) -> list[str]:
    """Return what the page says of the molecules."""
    if batch.evaluation is None:
        return []
    smiles = {number: found.verdict.smiles for number, found in _judged(batch).items()}
    shown = sorted((batch.relaxed or batch.drawn).items())
    names = {place: str(batch.number(atoms)) for place, atoms in enumerate(batch.generated)}
    return [
        render(
            "generated_molecules",
            units=UNITS,
            scores=score_cells(batch.evaluation.scores),
            drawings=drawings(batch.evaluation, names),
            relaxed=bool(batch.relaxed),
            scenes=scenes((f"{n}: {smiles[n] or 'not valid'}", atoms) for n, atoms in shown),
        )
    ]
