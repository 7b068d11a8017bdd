"""Whether molecules with explicit bonds are molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matkit.builders.smiles import rdkit
from matkit.errors import StructureError
from matkit.molecules.explicit import charge_of
from matkit.molecules.perception import KINDS, bare, one_line, perceive
from matkit.structures import Structures

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class MoleculeVerdict:
    """Whether a molecule is valid.

    Attributes:
        smiles: Canonical SMILES without stereochemistry; empty if it is not valid.
        reason: Why it is not valid: what RDKit objects to, or how many parts it has.
        molecule: RDKit's molecule, whatever it is; None if there are no bonds.
    """

    smiles: str
    reason: str
    molecule: Any

    @property
    def valid(self) -> bool:
        """Whether it sanitises and is one fragment."""
        return not self.reason


def judge_bonds(structures: Structures) -> list[MoleculeVerdict]:
    """Judge each molecule by its bonds: valid is what sanitises and is one fragment.

    Raises:
        StructureError: bonds, orders or charges are missing, or an order is none of RDKit's.
    """
    return [_verdict(to_rdkit(part)) for part in structures.split()]


def judge_distances(atoms: Atoms, by_rdkit: bool = False) -> MoleculeVerdict:
    """Judge a molecule by the bonds that its distances say.

    Args:
        atoms: Molecule; bonds that it carries are left out of account.
        by_rdkit: See `perceive`.
    """
    try:
        found = perceive(atoms.numbers, atoms.positions, charge_of(atoms), by_rdkit)
    except StructureError as error:
        return MoleculeVerdict("", str(error), None)
    return _verdict(found)


def to_rdkit(structures: Structures) -> Any:
    """Return one molecule with its bonds and formal charges as RDKit's, not sanitised.

    Raises:
        StructureError: bonds, orders or charges are missing, or an order is none of RDKit's.
    """
    chem = rdkit()
    orders, charges = structures.bond.get("order"), structures.atom.get("formal_charge")
    if structures.bonds is None or orders is None or charges is None:
        raise StructureError("Expected a molecule with bonds, their order and formal charges.")
    molecule = bare(structures.species.numpy(), structures.positions.numpy())
    for (i, j), order in zip(structures.bonds.tolist(), orders.tolist(), strict=True):
        if order not in KINDS:
            raise StructureError(f"Expected bonds of order 1, 1.5, 2 or 3, got {order:g}.")
        molecule.AddBond(i, j, getattr(chem.BondType, KINDS[order]))
    for atom, charge in zip(molecule.GetAtoms(), charges.tolist(), strict=True):
        atom.SetFormalCharge(charge)
    for bond in molecule.GetBonds():
        if bond.GetBondType() == chem.BondType.AROMATIC:
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    return molecule


def canonical_smiles(molecule: Any) -> str:
    """Return the SMILES of a sanitised molecule without stereochemistry.

    All hydrogens go first: one that bears stereochemistry would stay, and the same molecule would
    look different.
    """
    chem = rdkit()
    smiles = chem.MolToSmiles(chem.RemoveHs(molecule, sanitize=False), isomericSmiles=False)
    parsed = chem.MolFromSmiles(smiles)
    if parsed is None:
        return str(smiles)
    settings = chem.RemoveHsParameters()
    settings.removeDefiningBondStereo = settings.removeHydrides = True
    return str(chem.MolToSmiles(chem.RemoveHs(parsed, settings), isomericSmiles=False))


def _verdict(molecule: Any) -> MoleculeVerdict:
    chem = rdkit()
    try:
        chem.SanitizeMol(molecule)
    except Exception as error:  # RDKit raises anything
        return MoleculeVerdict("", one_line(error), molecule)
    if radicals := sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return MoleculeVerdict("", f"{radicals} unpaired electrons", molecule)
    if (parts := len(chem.GetMolFrags(molecule))) > 1:
        return MoleculeVerdict("", f"{parts} parts", molecule)
    return MoleculeVerdict(canonical_smiles(molecule), "", molecule)
