"""pymatgen `Structure` and `Molecule` to `Atoms` or `Structures` and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ase import Atoms

from matkit.conditions import NEUTRAL
from matkit.data.ase import charge_or_spin, from_ase, to_ase
from matkit.errors import MissingExtraError, StructureError
from matkit.structures import Structures

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

    AnyStructure: TypeAlias = Atoms | Structure | Molecule


def as_atoms(structure: AnyStructure) -> Atoms:
    """Return ASE's atoms of a structure of ASE or pymatgen; ASE's own come back as they are.

    Raises:
        StructureError: it is neither, or pymatgen's sites are partly occupied.
    """
    if isinstance(structure, Atoms):
        return structure
    if not _is_pymatgen(type(structure)):
        raise StructureError(
            "Expected a structure: Atoms of ASE, or Structure or Molecule of pymatgen; got "
            f"{type(structure).__name__}. Read files with ase.io.read."
        )
    if not structure.is_ordered:
        raise StructureError(
            f"Expected one element on every site, got {structure.formula} with partly occupied "
            "sites. Make an ordered structure of it first."
        )
    return _to_atoms(structure)


def in_type(atoms: Atoms, kind: type[Any]) -> AnyStructure:
    """Return a copy of atoms as `kind`: the type that `as_atoms` was given."""
    copy = atoms.copy()
    if not _is_pymatgen(kind):
        return copy
    from pymatgen.core import IStructure

    return _structure(copy) if issubclass(kind, IStructure) else _molecule(copy)


def _is_pymatgen(kind: type[Any]) -> bool:
    """Return whether a type is one of pymatgen's, which need not be imported for that."""
    return any(base.__module__.startswith("pymatgen.") for base in kind.__mro__)


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
    return _structure(atoms) if atoms.pbc.all() else _molecule(atoms)


def _structure(atoms: Atoms) -> Structure:
    atoms.info = {k: v for k, v in atoms.info.items() if NEUTRAL.get(k) != v}
    structure: Structure = _adaptor().get_structure(atoms)
    return structure


def _molecule(atoms: Atoms) -> Molecule:
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
