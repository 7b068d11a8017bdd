"""Molecules whose atoms, as ASE has them, carry bonds and formal charges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from matkit.data.ase import charge_or_spin, from_ase
from matkit.errors import StructureError
from matkit.structures import Structures

if TYPE_CHECKING:
    from ase import Atoms


def has_bonds(atoms: Atoms) -> bool:
    """Return whether atoms carry bonds, as `matkit.data.ase.to_ase` writes them."""
    return "formal_charge" in atoms.arrays and "bonds" in atoms.info


def charge_of(atoms: Atoms) -> int:
    """Return the charge of a molecule in e: that of its atoms if they carry any, or of its info.

    Raises:
        StructureError: its info says something else than a whole number.
    """
    if "formal_charge" in atoms.arrays:
        return int(atoms.arrays["formal_charge"].sum())
    charge = charge_or_spin(atoms, "charge") or 0.0
    if charge != round(charge):
        raise StructureError(f"Expected a whole number as charge of a molecule, got {charge:g}.")
    return round(charge)


def structures_with_bonds(atoms: Atoms) -> Structures:
    """Return one molecule with the bonds and formal charges that its atoms carry.

    Raises:
        StructureError: there are no charges, or the bonds are no pairs of its atoms.
    """
    if "formal_charge" not in atoms.arrays:
        raise StructureError("Expected atoms with a `formal_charge`, got none.")
    bonds = np.asarray(atoms.info.get("bonds", ())).reshape(-1, 2)
    orders = np.asarray(atoms.info.get("bond_order", np.ones(len(bonds))), dtype=float).ravel()
    if len(orders) != len(bonds) or not np.isin(bonds, np.arange(len(atoms))).all():
        raise StructureError(
            f"Expected pairs of atoms below {len(atoms)} with an order each, got {bonds.tolist()} "
            f"and {orders.tolist()}."
        )
    return from_ase(atoms).replace(
        system={},
        atom={"formal_charge": torch.tensor(atoms.arrays["formal_charge"], dtype=torch.long)},
        bonds=torch.tensor(bonds, dtype=torch.long),
        bond={"order": torch.tensor(orders)},
    )
