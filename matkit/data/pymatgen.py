"""pymatgen `Structure` and `Molecule` to `Structures` and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matkit.conditions import NEUTRAL
from matkit.data.ase import charge_or_spin, from_ase, to_ase
from matkit.errors import MissingExtraError
from matkit.structures import Structures

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Molecule, Structure


def from_pymatgen(objects: Structure | Molecule | Sequence[Structure | Molecule]) -> Structures:
    """Convert ordered pymatgen structures or molecules into a batch.

    Raises:
        StructureError: as `matkit.data.ase.from_ase`.
        MissingExtraError: pymatgen is not installed.
    """
    items = list(objects) if isinstance(objects, list | tuple) else [objects]
    return from_ase([_to_atoms(item) for item in items])


def to_pymatgen(structures: Structures) -> list[Structure | Molecule]:
    """Convert a batch to pymatgen: a `Structure` where fully periodic, else a `Molecule`."""
    return [_from_atoms(atoms) for atoms in to_ase(structures)]


def _to_atoms(item: Structure | Molecule) -> Atoms:
    atoms = _adaptor().get_atoms(item, msonable=False)
    if not atoms.pbc.any():
        atoms.info |= {"charge": item.charge, "spin": item.spin_multiplicity}
    return atoms


def _from_atoms(atoms: Atoms) -> Structure | Molecule:
    if atoms.pbc.all():
        atoms.info = {k: v for k, v in atoms.info.items() if NEUTRAL.get(k) != v}
        return _adaptor().get_structure(atoms)
    from pymatgen.core import Molecule

    symbols = atoms.get_chemical_symbols()
    charge, spin = charge_or_spin(atoms, "charge"), charge_or_spin(atoms, "spin")
    multiplicity = None if spin is None else int(spin)
    return Molecule(symbols, atoms.positions, charge or 0, multiplicity)


def _adaptor() -> Any:
    """Return pymatgen's converter, or say how to install it."""
    try:
        from pymatgen.io.ase import AseAtomsAdaptor
    except ImportError as error:
        raise MissingExtraError(
            "Converting pymatgen structures needs pymatgen: pip install pymatgen-core"
        ) from error
    return AseAtomsAdaptor
