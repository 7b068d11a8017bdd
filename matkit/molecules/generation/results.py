"""Generated molecules as a table, an archive of SDF and sections of a page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from ase import Atoms

from matkit.builders.smiles import rdkit
from matkit.generate.batch import Batch
from matkit.molecules.evaluation import PROTOCOLS, JudgedMolecule
from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.validity import to_rdkit
from matkit.report.pages import render
from matkit.report.structures import scene
from matkit.report.tables import percent

# Molecules that are drawn on the page.
PICTURES = 12


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Return one row for each molecule, and for each that failed."""
    judged = _judged(batch)
    table_rows = []
    for number, row in sorted(batch.rows.items()):
        found: dict[str, Any] = {"molecule": number}
        if number in judged:
            found |= _molecule_row(batch.drawn[number], judged[number])
        found |= {name: row.get(name, "") for name in ("seconds", "redrawn")}
        found["reason"] = row.get("reason", "") or found.get("reason", "")
        table_rows.append(found | (_relaxation(batch, number) if batch.relaxation else {}))
    return table_rows


def _judged(batch: Batch) -> dict[int, JudgedMolecule]:
    if batch.evaluation is None:
        return {}
    pairs = zip(batch.generated, batch.evaluation.molecules, strict=True)
    return {batch.number(atoms): found for atoms, found in pairs}


def _molecule_row(atoms: Atoms, found: JudgedMolecule) -> dict[str, Any]:
    return {
        "formula": atoms.get_chemical_formula("hill"),
        "n_atoms": len(atoms),
        "smiles": found.verdict.smiles,
        "charge": int(atoms.arrays["formal_charge"].sum()),
        "valid": found.verdict.valid,
        "unique": found.unique,
        "novel": "" if found.novel is None else found.novel,
        "perceived": found.perceived,
        "stable_atoms": "" if found.stable is None else round(found.stable, 4),
        "reason": found.verdict.reason,
    }


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
    if batch.evaluation is None:
        return []
    return [
        {"name": name, "value": value, "protocol": PROTOCOLS[name]}
        for name, value in batch.evaluation.scores.items()
    ]


def lines(batch: Batch) -> list[str]:
    """Return the scores as lines for a terminal."""
    return [f"{one['name']}: {percent(one['value'])} ({one['protocol']})" for one in scores(batch)]


def sections(batch: Batch) -> list[str]:
    """Return what the page says of the molecules."""
    shown = sorted((batch.relaxed or batch.drawn).items())[:PICTURES]
    judged = _judged(batch)
    titles = {n: judged[n].verdict.smiles or "not valid" for n, _ in shown if n in judged}
    table = [["share of all drawn", "", "what it means"]]
    table += [[one["name"], percent(one["value"]), one["protocol"]] for one in scores(batch)]
    return [
        render(
            "generated_molecules",
            scores=table if batch.evaluation is not None else [],
            scenes=[scene([atoms], [f"{n}: {titles.get(n, '')}"]) for n, atoms in shown],
        )
    ]
