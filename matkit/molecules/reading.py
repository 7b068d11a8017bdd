"""Molecules with bonds and charges, to learn from; what cannot be used is kept with the reason.

SDF brings its bonds and charges, and so do files that matkit wrote; CSV and ``.smi`` with SMILES
get conformers from RDKit; of all other files bonds and charges are found by distances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from matkit.builders.conformers import embedded
from matkit.builders.smiles import rdkit
from matkit.errors import MatkitError, MissingExtraError
from matkit.molecules.cached import Arrays, cached_arrays, pack, unpack
from matkit.molecules.contents import WHEEL, MoleculeContent, ending_of, files_of, read_contents
from matkit.molecules.entries import MoleculeEntry
from matkit.molecules.explicit import charge_of, has_bonds, structures_with_bonds
from matkit.molecules.perception import one_line, perceive, structures_of
from matkit.structures import Structures


def read_molecules(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> Iterator[MoleculeEntry]:
    """Give every entry of folders and files; arguments and errors as of `read_contents`.

    What is found of QM9 is kept in the cache.
    """
    for file in files_of(paths):
        if format is None and ending_of(file) == WHEEL:
            yield from unpack(packed_molecules(file))
        else:
            yield from _read(file, format)


def packed_molecules(file: Path) -> Arrays:
    """Return the molecules of the wheel of QM9 as `pack` does, from the cache if they are there."""
    return cached_arrays(file, "molecules", partial(_packed, file))


def _packed(file: Path) -> Arrays:
    return pack(list(_read(file)))


def _read(file: Path, format: str | None = None) -> Iterator[MoleculeEntry]:
    for number, found in enumerate(read_contents(file, format)):
        yield _entry(found, number)


def _entry(found: MoleculeContent, seed: int) -> MoleculeEntry:
    """Return an entry, or why there is none."""
    structures, reason = None, found.reason
    try:
        structures = None if found.content is None else structures_in(found.content, seed)
    except MissingExtraError:
        raise
    except MatkitError as error:
        reason = str(error)
    except Exception as error:  # RDKit raises anything
        reason = one_line(error)
    return MoleculeEntry(found.source, structures, reason, found.carried)


def structures_in(content: Any, seed: int = 0) -> Structures:
    """Return a molecule with bonds from what stands in a file.

    Args:
        content: See `MoleculeContent`.
        seed: Of the conformer of a SMILES.

    Raises:
        StructureError: it is no molecule to learn from.
        Exception: RDKit raises anything where it does not understand a molecule.
    """
    if isinstance(content, str):
        return structures_of(embedded(content, seed)[0])
    if not isinstance(content, Atoms):
        rdkit().SanitizeMol(content)
        return structures_of(content)
    if has_bonds(content):
        return structures_with_bonds(content)
    return structures_of(perceive(content.numbers, content.positions, charge_of(content)))
