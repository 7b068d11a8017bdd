"""Molecules with bonds and charges, to learn from; what cannot be used is kept with the reason.

SDF brings its bonds and charges, and so do files that matkit wrote; CSV and ``.smi`` with SMILES
get conformers from RDKit; of all other files bonds and charges are found by distances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from matkit.builders.conformers import embedded
from matkit.builders.smiles import rdkit
from matkit.errors import MatkitError, MissingExtraError
from matkit.molecules.contents import MoleculeContent, read_contents
from matkit.molecules.explicit import charge_of, has_bonds, structures_with_bonds
from matkit.molecules.perception import one_line, perceive, structures_of
from matkit.structures import Structures


@dataclass(frozen=True)
class MoleculeEntry:
    """One entry of a file, whether it can be used or not.

    Attributes:
        source: Where it comes from, as ``a.sdf[3]``.
        structures: The molecule with its bonds; None if there is none.
        reason: Why there is none.
        carried: What else the file says of it, by name.
    """

    source: str
    structures: Structures | None = None
    reason: str = ""
    carried: Mapping[str, Any] = field(default_factory=dict)


def read_molecules(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> Iterator[MoleculeEntry]:
    """Give every entry of folders and files; arguments and errors as of `read_contents`."""
    for number, found in enumerate(read_contents(paths, format)):
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
