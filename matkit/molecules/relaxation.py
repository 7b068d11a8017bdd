"""What a relaxation does to molecules: energy, displacement, and whether the bonds stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.units import kcal, mol

from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.perception import near_pairs
from matkit.molecules.validity import judge_distances
from matkit.runs.ledger_files import Row

KCAL_PER_MOL = kcal / mol


def strain_of(before: Atoms, after: Atoms | None, row: Row) -> dict[str, Any]:
    """Return what a relaxation has done to a molecule.

    Args:
        before: As it was drawn.
        after: Relaxed; None if the relaxation failed.
        row: What the ledger of relaxations says, energies in eV/atom.

    Returns:
        `strain`, the energy that was given up, in kcal/mol; `rmsd` of all atoms after
        superposition, in Å; `bonds_kept`; and `smiles_relaxed`, by distances. Only `bonds_kept` if
        it failed.
    """
    if after is None:
        return {"bonds_kept": False}
    energy = (row["energy_before"] - row["energy_after"]) * len(before)
    return {
        "strain": energy / KCAL_PER_MOL,
        "rmsd": rmsd(before, after),
        "bonds_kept": _pairs(before) == near_pairs(after.numbers, after.positions),
        "smiles_relaxed": judge_distances(after).smiles,
    }


def rmsd(one: Atoms, other: Atoms) -> float:
    """Return the root of the mean square distance of atoms after superposition, in Å."""
    target, moved = Atoms(one.numbers, one.positions), Atoms(other.numbers, other.positions)
    if len(one) > 1:
        minimize_rotation_and_translation(target, moved)
        return float(np.sqrt(((target.positions - moved.positions) ** 2).sum(axis=1).mean()))
    return 0.0


def _pairs(atoms: Atoms) -> set[frozenset[int]]:
    """Return the bonds that a molecule came with, or else those that its distances say."""
    if "formal_charge" not in atoms.arrays:
        return near_pairs(atoms.numbers, atoms.positions)
    bonds = structures_with_bonds(atoms).bonds
    return {frozenset(pair) for pair in ([] if bonds is None else bonds.tolist())}


def median(strains: Mapping[int, Mapping[str, Any]], name: str) -> float | None:
    """Return the median of a quantity over the molecules that have it; None if none has."""
    values = [found[name] for found in strains.values() if name in found]
    return float(np.median(values)) if values else None
