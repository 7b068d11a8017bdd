"""What is found out about one molecule at a time, by every protocol that is cheap."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ase import Atoms

from matkit.data.ase import from_ase
from matkit.errors import StructureError
from matkit.molecules.explicit import structures_with_bonds
from matkit.molecules.stability import table_stability
from matkit.molecules.validity import MoleculeVerdict, judge_bonds, judge_distances


@dataclass(frozen=True)
class DrawnMolecule:
    """A molecule as it was drawn or read, whether it can be used or not.

    Attributes:
        source: Where it comes from, as ``a.sdf[3]``.
        atoms: With a `formal_charge`, and bonds if it has any, where the file says them; None if
            there are none.
        reason: Why there are none.
    """

    source: str
    atoms: Atoms | None
    reason: str = ""


@dataclass(frozen=True)
class JudgedMolecule:
    """What is known of one molecule.

    Attributes:
        n_atoms: Its atoms, 0 if it could not be read.
        own: By the bonds that it came with; None if it came without.
        perceived: By distances within 1.15 times the covalent radii.
        by_rdkit: By RDKit's own limits of distances.
        stable_atoms: Those that EDM's table has for stable; None if it lacks an element.
        unique: Whether it is valid and not like an earlier one.
        novel: Whether it is unique and unknown; None if nothing is known.
    """

    n_atoms: int
    own: MoleculeVerdict | None
    perceived: MoleculeVerdict
    by_rdkit: MoleculeVerdict
    stable_atoms: int | None
    unique: bool
    novel: bool | None

    @property
    def verdict(self) -> MoleculeVerdict:
        """By its own bonds, and by distances if it has none."""
        return self.own or self.perceived


def judge_molecules(
    molecules: Iterable[DrawnMolecule], known: Collection[str] | None = None
) -> list[JudgedMolecule]:
    """Judge molecules one by one.

    Args:
        molecules: Those that could not be read are valid by no protocol.
        known: SMILES that are not novel, as `canonical_smiles` gives them; None to judge no
            novelty.

    Raises:
        StructureError: bonds that came with a molecule are none.
    """
    before = set[str]()
    judged = []
    for one in molecules:
        if one.atoms is None:
            nothing = MoleculeVerdict("", one.reason, None)
            no = None if known is None else False
            judged.append(JudgedMolecule(0, None, nothing, nothing, None, False, no))
            continue
        found = _judge(one.atoms, before, known)
        before.add(found.verdict.smiles)
        judged.append(found)
    return judged


def _judge(atoms: Atoms, before: Collection[str], known: Collection[str] | None) -> JudgedMolecule:
    own = None
    if "formal_charge" in atoms.arrays:
        (own,) = judge_bonds(structures_with_bonds(atoms))
    perceived = judge_distances(atoms)
    verdict = own or perceived
    unique = verdict.valid and verdict.smiles not in before
    return JudgedMolecule(
        len(atoms),
        own,
        perceived,
        judge_distances(atoms, by_rdkit=True),
        _stable_atoms(atoms),
        unique,
        None if known is None else unique and verdict.smiles not in known,
    )


def _stable_atoms(atoms: Atoms) -> int | None:
    try:
        return int(table_stability(from_ase(atoms)).atoms.sum())
    except StructureError:
        return None
