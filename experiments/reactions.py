"""Small organic reactions: pairs of structures made from a SMILES and what happens to its atoms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import AllChem


class Reaction(NamedTuple):
    """What happens to the atoms of a SMILES, hydrogens behind the others: `H i -> j` moves a
    hydrogen to another atom, `turn i j k l angle` sets a dihedral angle, `invert i` takes the
    hydrogens of a pyramidal atom to its other side."""

    smiles: str
    change: str


REACTIONS = {
    "HCN to HNC": Reaction("C#N", "H 2 -> 1"),
    "formaldehyde to hydroxymethylene": Reaction("C=O", "H 2 -> 1"),
    "acetaldehyde to vinyl alcohol": Reaction("CC=O", "H 3 -> 2"),
    "acetone to its enol": Reaction("CC(=O)C", "H 4 -> 2"),
    "formamide to formimidic acid": Reaction("NC=O", "H 3 -> 2"),
    "acetonitrile to ketenimine": Reaction("CC#N", "H 3 -> 2"),
    "hydroxylamine to ammonia oxide": Reaction("NO", "H 4 -> 0"),
    "diazene to isodiazene": Reaction("N=N", "H 2 -> 1"),
    "methanimine to aminomethylene": Reaction("C=N", "H 2 -> 1"),
    "nitrous acid, other oxygen": Reaction("ON=O", "H 3 -> 2"),
    "formic acid, other oxygen": Reaction("OC=O", "H 3 -> 2"),
    "propyne to allene": Reaction("CC#C", "H 3 -> 2"),
    "malonaldehyde, other oxygen": Reaction("O=C/C=C\\O", "H 8 -> 0"),
    "butane": Reaction("CCCC", "turn 0 1 2 3 65"),
    "butadiene": Reaction("C=CC=C", "turn 0 1 2 3 40"),
    "acrolein": Reaction("C=CC=O", "turn 0 1 2 3 0"),
    "formic acid": Reaction("OC=O", "turn 2 1 0 3 180"),
    "nitrous acid": Reaction("ON=O", "turn 2 1 0 3 180"),
    "methyl methanoate": Reaction("COC=O", "turn 0 1 2 3 180"),
    "ethanol": Reaction("CCO", "turn 0 1 2 8 180"),
    "propanal": Reaction("CCC=O", "turn 0 1 2 3 10"),
    "ammonia": Reaction("N", "invert 0"),
    "methylamine": Reaction("CN", "invert 1"),
    "aziridine": Reaction("C1CN1", "invert 2"),
    "azetidine": Reaction("C1CCN1", "invert 3"),
}


def embedded(smiles: str) -> tuple[Atoms, Chem.Mol]:
    """Return a molecule near a minimum of MMFF94."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(molecule)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return Atoms(numbers, molecule.GetConformer().GetPositions()), molecule


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector of length 1."""
    return vector / np.linalg.norm(vector)


def product(atoms: Atoms, molecule: Chem.Mol, change: str) -> Atoms:
    """Return what becomes of a molecule."""
    after, words = atoms.copy(), change.split()
    if words[0] == "H":
        moved, end = int(words[1]), int(words[3])
        away = [a.GetIdx() for a in molecule.GetAtomWithIdx(end).GetNeighbors()]
        direction = atoms.positions[end] - atoms.positions[[i for i in away if i != moved]].mean(0)
        to_start = atoms.positions[moved] - atoms.positions[end]
        direction = direction / np.linalg.norm(direction) + 0.7 * to_start / np.linalg.norm(
            to_start
        )
        after.positions[moved] = atoms.positions[end] + direction / np.linalg.norm(direction)
    elif words[0] == "turn":
        i, j, k, l, angle = map(int, words[1:])  # noqa: E741
        rest = Chem.RWMol(molecule)
        rest.RemoveBond(j, k)
        fragment = next(part for part in Chem.GetMolFrags(rest) if k in part)
        after.set_dihedral(i, j, k, l, angle, indices=list(fragment))
    else:
        invert(after, molecule.GetAtomWithIdx(int(words[1])))
    return after


def invert(atoms: Atoms, center: Chem.Atom) -> None:
    """Reflect the hydrogens of an atom: the others around it stay where they are."""
    near = [atom.GetIdx() for atom in center.GetNeighbors()]
    hydrogens = [i for i in near if atoms.numbers[i] == 1]
    origin = atoms.positions[center.GetIdx()]
    spokes = [atoms.positions[i] - origin for i in near if i not in hydrogens]
    if len(spokes) < 2:  # a plane through the atom, along the edge of two hydrogens
        spokes.append(atoms.positions[hydrogens[0]] - atoms.positions[hydrogens[1]])
    if len(spokes) < 2:
        spokes.append(atoms.positions[hydrogens[0]] - atoms.positions[hydrogens[2]])
    normal = unit(np.cross(*spokes))
    for i in hydrogens:
        atoms.positions[i] -= 2 * normal * (normal @ (atoms.positions[i] - origin))
