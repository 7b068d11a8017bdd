"""pymatgen `Structure` and `Molecule` to `Structures` and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matkit.data.ase import from_ase, to_ase
from matkit.errors import MissingExtraError
from matkit.structures import Structures

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure


def from_pymatgen(objects: Structure | Molecule | Sequence[Structure | Molecule]) -> Structures:
    """Convert ordered pymatgen structures or molecules into a batch.

    Raises:
        StructureError: as `matkit.data.ase.from_ase`.
        MissingExtraError: pymatgen is not installed.
    """
    adaptor = _adaptor()
    items = list(objects) if isinstance(objects, list | tuple) else [objects]
    return from_ase([adaptor.get_atoms(item, msonable=False) for item in items])


def to_pymatgen(structures: Structures) -> list[Structure | Molecule]:
    """Convert a batch to pymatgen: a `Structure` where fully periodic, else a `Molecule`."""
    adaptor = _adaptor()
    return [
        adaptor.get_structure(atoms) if atoms.pbc.all() else adaptor.get_molecule(atoms)
        for atoms in to_ase(structures)
    ]


def _adaptor() -> Any:
    try:
        from pymatgen.io.ase import AseAtomsAdaptor
    except ImportError as error:
        raise MissingExtraError(
            "Converting pymatgen structures needs pymatgen: pip install pymatgen-core"
        ) from error
    return AseAtomsAdaptor
