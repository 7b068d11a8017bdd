"""Molecules as anybody has drawn them, read as they are; and SMILES of those that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from matkit.builders.smiles import rdkit
from matkit.data.ase import check_atoms, to_ase
from matkit.errors import DataError, MatkitError, StructureError
from matkit.molecules.cached import cached_arrays
from matkit.molecules.contents import WHEEL, MoleculeContent, ending_of, files_of, read_contents
from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.judging import DrawnMolecule
from matkit.molecules.perception import bonded_structures, coordinates_fault, one_line
from matkit.molecules.reading import structures_in
from matkit.molecules.validity import canonical_smiles, judge_bonds, to_rdkit


def read_geometries(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> Iterator[DrawnMolecule]:
    """Give every molecule of folders and files with the bonds that it came with, sound or not.

    Args:
        paths: Where the molecules are.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path does not exist, or there are SMILES, which have no geometry.
        MissingExtraError: a package for a format is not installed.
    """
    for found in read_contents(paths, format):
        if isinstance(found.content, str):
            raise DataError(
                f"Expected molecules with coordinates, got a SMILES in {found.source}. Name files "
                "of geometries; SMILES can only be known ones (known)."
            )
        yield _drawn(found)


def _drawn(found: MoleculeContent) -> DrawnMolecule:
    if found.content is None:
        return DrawnMolecule(found.source, None, found.reason)
    try:
        return DrawnMolecule(found.source, _atoms(found.content))
    except Exception as error:  # RDKit raises anything
        reason = str(error) if isinstance(error, MatkitError) else one_line(error)
        return DrawnMolecule(found.source, None, reason)


def _atoms(content: Any) -> Atoms:
    if not isinstance(content, Atoms):
        content.UpdatePropertyCache(strict=False)
        if reason := coordinates_fault(content):
            raise StructureError(reason)
        (content,) = to_ase(bonded_structures(content))
    check_atoms(content, "")
    if "formal_charge" in content.arrays:
        to_rdkit(structures_with_bonds(content))  # says what is wrong with bonds that are none
    return content


def read_known(paths: str | Path | Iterable[str | Path]) -> set[str]:
    """Return the SMILES of molecules that are not novel; without stereochemistry.

    Of files of SMILES no geometry is made. What cannot be used is left out.

    Raises:
        DataError: a path does not exist, or holds no molecule at all.
    """
    known = {smiles for file in files_of(paths) for smiles in _smiles_in(file)}
    if not known:
        raise DataError(f"Expected known molecules in {paths}, found none.")
    return known


def _smiles_in(file: Path) -> Iterable[str]:
    """Return the SMILES of a file; those of QM9 are kept in the cache."""
    found = (smiles for one in read_contents(file) if (smiles := _smiles_of(one)))
    if ending_of(file) != WHEEL:
        return found
    arrays = cached_arrays(file, "smiles", lambda: {"smiles": np.array(list(found), dtype=str)})
    return list(map(str, arrays["smiles"]))


def _smiles_of(found: MoleculeContent) -> str:
    """Return the SMILES of an entry; nothing if it is no valid molecule."""
    if isinstance(found.content, str):
        return canonical_smiles(rdkit().MolFromSmiles(found.content))
    try:
        return "" if found.content is None else judge_bonds(structures_in(found.content))[0].smiles
    except Exception:  # RDKit raises anything
        return ""
