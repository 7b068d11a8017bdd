"""Elementary steps of a molecule: what its atoms can be after electrons moved round a small ring.

In a ring of four or six atoms every second bond loses an order and the others gain one, so that no
valence changes (Dugundji and Ugi 1973, Top. Curr. Chem. 39, 19). These are shifts of a
hydrogen (1,3 and 1,5), losses of H2, water, ammonia and the like, ring closures and openings, ene
reactions and the shifts of Cope and Claisen. In a ring of three, with a carbon that is left with
two bonds: shifts 1,2, as from HCN to HNC, and the loss of carbon monoxide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from matkit.builders.conformers import Bonds
from matkit.builders.smiles import rdkit

RINGS = (4, 6)
# Farthest that two atoms are apart which become bonded, Å.
REACH = 3.5
# Smallest ring that holds a triple bond or two adjacent double bonds.
ROOMY = 8

# Change of the bond order of pairs of atoms, the smaller number first.
Changes = dict[tuple[int, int], int]


@dataclass(frozen=True)
class ElementaryStep:
    """A step, and what is there after it.

    Attributes:
        product: RDKit's molecule of all atoms in the order of the reactant.
        smiles: The product without stereochemistry.
        formed: Pairs of atoms that become bonded.
        broken: Pairs of atoms that cease to be.
    """

    product: Any
    smiles: str
    formed: Bonds
    broken: Bonds


def steps(molecule: Any, positions: Float[np.ndarray, "N 3"]) -> list[ElementaryStep]:
    """Return a step to every product there is, of several to one product the shortest.

    Args:
        molecule: RDKit's molecule with hydrogens.
        positions: Where its atoms are, Å.
    """
    chem = rdkit()
    plain = chem.Mol(molecule)
    chem.Kekulize(plain, clearAromaticFlags=True)
    chem.RemoveStereochemistry(plain)
    far = np.linalg.norm(positions[:, None] - positions, axis=2)
    possible = []
    for changes in (*_around_rings(plain), *_at_carbons(plain)):
        formed, broken = _connections(plain, changes)
        reach = max((float(far[pair]) for pair in formed), default=0.0)
        if reach < REACH and _is_elementary(plain, formed, broken):
            possible.append((reach, changes))
    found: dict[str, ElementaryStep] = {}
    for _, changes in sorted(possible, key=lambda one: one[0]):
        product = _changed(plain, changes)
        if product is not None:
            smiles = chem.MolToSmiles(chem.RemoveHs(product))
            found.setdefault(smiles, ElementaryStep(product, smiles, *_connections(plain, changes)))
    return [found[smiles] for smiles in sorted(found)]


def _around_rings(molecule: Any) -> Iterator[Changes]:
    """Give the changes of all rings; the last and the first atom need not be bonded before."""
    for size in RINGS:
        for chain in _chains(molecule, size):
            pairs = (_pair(i, j) for i, j in pairwise([*chain, chain[0]]))
            changes = {pair: 2 * (k % 2) - 1 for k, pair in enumerate(pairs)}
            if all(0 <= _order(molecule, *p) + change <= 3 for p, change in changes.items()):
                yield changes


def _chains(molecule: Any, size: int) -> Iterator[tuple[int, ...]]:
    """Give all chains of so many bonded atoms, each in one of its two senses."""
    near = [[a.GetIdx() for a in atom.GetNeighbors()] for atom in molecule.GetAtoms()]
    chains: Iterable[tuple[int, ...]] = ((i,) for i in range(len(near)))
    for _ in range(size - 1):
        chains = [(*chain, i) for chain in chains for i in near[chain[-1]] if i not in chain]
    return (chain for chain in chains if chain[0] < chain[-1])


def _at_carbons(molecule: Any) -> Iterator[Changes]:
    """Give the changes that move a hydrogen from a carbon to another of its neighbours.

    That is an N or O with a multiple bond, or what leaves together with the hydrogen if the carbon
    has a double bond to N or O.
    """
    for carbon in (atom for atom in molecule.GetAtoms() if atom.GetSymbol() == "C"):
        near = {atom.GetIdx(): atom.GetSymbol() for atom in carbon.GetNeighbors()}
        order = {i: _order(molecule, carbon.GetIdx(), i) for i in near}
        if not any(near[i] in "NO" and order[i] > 1 for i in near):
            continue
        for hydrogen in (i for i in near if near[i] == "H"):
            for other in (i for i in near if i != hydrogen and (near[i] in "NO" or order[i] == 1)):
                lost = {_pair(carbon.GetIdx(), i): -1 for i in (hydrogen, other)}
                yield {**lost, _pair(hydrogen, other): 1}


def _is_elementary(molecule: Any, formed: Bonds, broken: Bonds) -> bool:
    """Whether bonds change, and at most two break, one of them between other atoms than H."""
    light = {atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 1}
    heavy = [pair for pair in broken if not light & {*pair}]
    return bool(formed or broken) and len(broken) <= 2 and len(heavy) <= 1


def _connections(molecule: Any, changes: Changes) -> tuple[Bonds, Bonds]:
    """Return the pairs of atoms that become bonded, and those that cease to be."""
    before = {pair: _order(molecule, *pair) for pair in changes}
    formed = tuple(pair for pair, order in before.items() if order == 0)
    return formed, tuple(pair for pair, order in before.items() if order == -changes[pair] > 0)


def _changed(molecule: Any, changes: Changes) -> Any:
    """Return the molecule after the changes, None if there is no such molecule."""
    chem = rdkit()
    work = chem.RWMol(molecule)
    for atom in work.GetAtoms():
        atom.SetNoImplicit(True)
    for pair, change in changes.items():
        order = _order(work, *pair) + change
        work.RemoveBond(*pair)
        if order:
            work.AddBond(*pair, chem.BondType.values[order])
    for atom in work.GetAtoms():
        _complete(atom)
    if chem.SanitizeMol(work, catchErrors=True) != chem.SanitizeFlags.SANITIZE_NONE:
        return None
    product = work.GetMol()
    return None if _is_impossible(product) else product


def _complete(atom: Any) -> None:
    """Write a carbon whose only bond is double as that of carbon monoxide or an isocyanide."""
    bonds = atom.GetBonds()
    if atom.GetSymbol() == "C" and [bond.GetBondTypeAsDouble() for bond in bonds] == [2]:
        bonds[0].SetBondType(rdkit().BondType.TRIPLE)
        atom.SetFormalCharge(-1)
        bonds[0].GetOtherAtom(atom).SetFormalCharge(1)


def _is_impossible(product: Any) -> bool:
    """Whether atoms on a line are in a small ring."""
    rings = product.GetRingInfo()
    for atom in product.GetAtoms():
        orders = [bond.GetBondTypeAsDouble() for bond in atom.GetBonds()]
        on_a_line = atom.GetSymbol() in "CN" and (3 in orders or orders.count(2) > 1)
        if on_a_line and 0 < rings.MinAtomRingSize(atom.GetIdx()) < ROOMY:
            return True
    return False


def _order(molecule: Any, i: int, j: int) -> int:
    """Return the order of a bond, zero where there is none."""
    bond = molecule.GetBondBetweenAtoms(i, j)
    return 0 if bond is None else round(bond.GetBondTypeAsDouble())


def _pair(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)
