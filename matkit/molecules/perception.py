"""Molecules of RDKit from atoms and back, with bonds and formal charges found where none are given.

Bonds are by default between atoms within 1.15 times the sum of their covalent radii: of true
geometries of QM9 this finds 99.7 % as they are, RDKit's own defaults since 2023.09 only 95 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from matkit.builders.smiles import rdkit
from matkit.elements import SYMBOLS
from matkit.errors import StructureError
from matkit.structures import Structures

COVALENT_FACTOR = 1.15
# Attempts at distributing bond orders, whose number grows without bound for unlikely geometries.
ATTEMPTS = 10_000
# RDKit's kinds of bonds by order.
KINDS = {1.0: "SINGLE", 1.5: "AROMATIC", 2.0: "DOUBLE", 3.0: "TRIPLE"}


def perceive(
    numbers: NDArray[np.integer[Any]],
    positions: NDArray[np.floating[Any]],
    charge: int = 0,
    by_rdkit: bool = False,
) -> Any:
    """Return RDKit's molecule of atoms, with bonds, orders and formal charges found by distances.

    Args:
        numbers: Atomic numbers [n].
        positions: Cartesian coordinates [n, 3], Å.
        charge: Charge of the whole in e.
        by_rdkit: Whether to take RDKit's own limits of distances.

    Raises:
        StructureError: no orders fit the connectivity and the charge.
    """
    chem, bonds = rdkit(), rdkit("rdkit.Chem.rdDetermineBonds")
    molecule = bare(numbers, positions)
    try:
        if by_rdkit:
            bonds.DetermineConnectivity(molecule)
        else:
            bonds.DetermineConnectivity(molecule, useVdw=True, covFactor=COVALENT_FACTOR)
        bonds.DetermineBondOrders(
            molecule, charge=charge, embedChiral=False, maxIterations=ATTEMPTS
        )
        chem.SanitizeMol(molecule)
    except Exception as error:  # RDKit raises anything
        raise StructureError(f"no bonds fit the geometry ({one_line(error)})") from error
    return molecule


def near_pairs(
    numbers: NDArray[np.integer[Any]], positions: NDArray[np.floating[Any]]
) -> set[frozenset[int]]:
    """Return the pairs of atoms that `perceive` takes for bonded."""
    molecule = bare(numbers, positions)
    rdkit("rdkit.Chem.rdDetermineBonds").DetermineConnectivity(
        molecule, useVdw=True, covFactor=COVALENT_FACTOR
    )
    return {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in molecule.GetBonds()}


def bare(numbers: NDArray[np.integer[Any]], positions: NDArray[np.floating[Any]]) -> Any:
    """Return RDKit's molecule of atoms without bonds."""
    chem = rdkit()
    molecule = chem.RWMol()
    for number in numbers.tolist():
        atom = chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    conformer = chem.Conformer(len(numbers))
    conformer.SetPositions(np.array(positions, dtype=float))
    molecule.AddConformer(conformer)
    return molecule


def structures_of(molecule: Any) -> Structures:
    """Return one molecule of RDKit with its bonds and formal charges.

    ``bond["order"]`` is 1, 1.5, 2 or 3 and ``atom["formal_charge"]`` in e.

    Raises:
        StructureError: it has no atoms, hydrogens that are not among them, no coordinates in three
            dimensions, dummies, radicals or several parts.
    """
    if reason := fault_of(molecule):
        raise StructureError(reason)
    return bonded_structures(molecule)


def bonded_structures(molecule: Any) -> Structures:
    """Return what `structures_of` does of a molecule with coordinates, whether it is sound or not.

    Raises:
        StructureError: a bond is of another kind than single, aromatic, double or triple.
    """
    atoms, bonds = list(molecule.GetAtoms()), list(molecule.GetBonds())
    ends = [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in bonds]
    orders = [bond.GetBondTypeAsDouble() for bond in bonds]
    if strange := {order for order in orders if order not in KINDS}:
        raise StructureError(f"Expected bonds of order 1, 1.5, 2 or 3, got {min(strange):g}.")
    return Structures(
        positions=torch.tensor(molecule.GetConformer().GetPositions(), dtype=torch.float64),
        species=torch.tensor([atom.GetAtomicNum() for atom in atoms]),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([len(atoms)]),
        atom={"formal_charge": torch.tensor([atom.GetFormalCharge() for atom in atoms])},
        bonds=torch.tensor(ends, dtype=torch.long).view(-1, 2),
        bond={"order": torch.tensor(orders, dtype=torch.float64)},
    )


def fault_of(molecule: Any) -> str:
    """Return why a molecule cannot be learnt from, or nothing."""
    if reason := coordinates_fault(molecule):
        return reason
    if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return "it is a radical"
    parts = len(rdkit().GetMolFrags(molecule))
    return f"it consists of {parts} parts" if parts > 1 else ""


def coordinates_fault(molecule: Any) -> str:
    """Return what atoms or coordinates a molecule lacks, or nothing."""
    atoms = list(molecule.GetAtoms())
    if not atoms:
        return "no atoms"
    if any(atom.GetAtomicNum() == 0 or atom.GetAtomicNum() >= len(SYMBOLS) for atom in atoms):
        return "an atom has no element"
    if lacking := sum(atom.GetTotalNumHs() for atom in atoms):
        return f"{lacking} hydrogens have no positions; add them with coordinates"
    if not molecule.GetNumConformers() or not molecule.GetConformer().Is3D():
        return "it has no coordinates in three dimensions"
    finite = np.isfinite(molecule.GetConformer().GetPositions()).all()
    return "" if finite else "positions are not finite"


def one_line(error: Exception) -> str:
    """Return the message of an error of RDKit without line breaks."""
    return " ".join(str(error).split())[:200] or type(error).__name__
