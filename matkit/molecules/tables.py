"""What is known of each molecule as a row of a table, and pictures of some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ase import Atoms

from matkit.molecules.drawings import drawing
from matkit.molecules.evaluation import MoleculeEvaluation
from matkit.molecules.explicit import charge_of
from matkit.molecules.judging import JudgedMolecule
from matkit.report.structures import Scene, scene

# Said in the reports, for whoever opens the table.
UNITS = (
    "In the table charge is in e, strain (the energy that a relaxation gives up) in kcal/mol, "
    "other energies in eV/atom, rmsd (of all atoms by the relaxation, superposed) in Å."
)
# Molecules that are drawn.
PICTURES = 12


def molecule_row(atoms: Atoms | None, evaluation: MoleculeEvaluation, place: int) -> dict[str, Any]:
    """Return what is known of a molecule.

    Args:
        atoms: It; None if it could not be read.
        evaluation: With the molecule.
        place: Of the molecule in it, from 0.
    """
    found = evaluation.molecules[place]
    row = {
        "formula": "" if atoms is None else atoms.get_chemical_formula("hill"),
        "n_atoms": found.n_atoms,
        "smiles": found.verdict.smiles,
        "charge": "" if atoms is None else charge_of(atoms),
        "valid": "" if found.own is None else found.own.valid,
        "perceived": found.perceived.valid,
        "perceived_by_rdkit": found.by_rdkit.valid,
        "unique": found.unique,
        "novel": "" if found.novel is None else found.novel,
        "stable_atoms": _stable(found),
    }
    if evaluation.poses:
        checked = evaluation.poses.get(place, {})
        row["posebusters"] = checked.get("status") == "done"
        row["posebusters_reason"] = checked.get("reason", "")
    if evaluation.strains:
        row |= _strain(evaluation.strains.get(place, {}))
    return row | {"reason": found.verdict.reason}


def _stable(found: JudgedMolecule) -> Any:
    if found.stable_atoms is None:
        return ""
    return round(found.stable_atoms / found.n_atoms, 4)


def _strain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "strain": round(found["strain"], 4) if "strain" in found else "",
        "rmsd": round(found["rmsd"], 5) if "rmsd" in found else "",
        "bonds_kept": found.get("bonds_kept", False),
        "smiles_relaxed": found.get("smiles_relaxed", ""),
    }


def drawings(evaluation: MoleculeEvaluation, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return structural formulas of the first valid molecules.

    Args:
        evaluation: Molecules.
        names: What each is called, by its place.
    """
    valid = [i for i, one in enumerate(evaluation.molecules) if one.verdict.valid and i in names]
    shown = ((i, evaluation.molecules[i].verdict.smiles) for i in valid[:PICTURES])
    return [{"title": f"{names[i]}: {smiles}", "svg": drawing(smiles)} for i, smiles in shown]


def scenes(molecules: Iterable[tuple[str, Atoms]]) -> list[Scene]:
    """Return the first molecules for the viewer of a page, with what is written below them."""
    return [
        scene([atoms], [title])
        for (title, atoms), _ in zip(molecules, range(PICTURES), strict=False)
    ]
