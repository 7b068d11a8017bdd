"""How good generated molecules are: valid by their bonds, unique, novel, stable by EDM's table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matkit.errors import StructureError
from matkit.molecules.perception import perceive, structures_of
from matkit.molecules.stability import table_stability
from matkit.molecules.validity import MoleculeVerdict, judge_bonds
from matkit.structures import Structures

# What each score means, by its name.
PROTOCOLS = {
    "valid": "sanitises by its own bonds and is one fragment",
    "unique": "valid, and no earlier molecule has the same SMILES",
    "novel": "unique, and not among the known molecules",
    "perceived": "bonds found by 1.15 times the covalent radii make one sanitised fragment",
    "atoms stable": "bonds by EDM's table of distances add up to the valence; of all atoms",
    "molecules stable": "all atoms are stable by EDM's table",
}


@dataclass(frozen=True)
class JudgedMolecule:
    """What is known of one molecule.

    Attributes:
        verdict: Whether it is valid by its bonds.
        unique: Whether it is valid and not like an earlier one.
        novel: Whether it is unique and unknown; None if nothing is known.
        perceived: Whether bonds found by distances make a valid molecule.
        stable: Share of its atoms that EDM's table has for stable; None if it lacks an element.
    """

    verdict: MoleculeVerdict
    unique: bool
    novel: bool | None
    perceived: bool
    stable: float | None


@dataclass(frozen=True)
class MoleculeEvaluation:
    """Molecules and their scores.

    Attributes:
        molecules: What is known of each.
        scores: Share of all molecules, or atoms, by the names of `PROTOCOLS`.
    """

    molecules: tuple[JudgedMolecule, ...]
    scores: dict[str, float]


def evaluate_molecules(
    structures: Structures, known: Collection[str] | None = None
) -> MoleculeEvaluation:
    """Judge molecules with bonds.

    Args:
        structures: At least one molecule with bonds, orders and formal charges.
        known: SMILES that are not novel, as `judge_bonds` gives them; None to judge no novelty.

    Raises:
        StructureError: bonds, orders or charges are missing.
    """
    verdicts, seen = judge_bonds(structures), set[str]()
    judged = []
    for verdict, part in zip(verdicts, structures.split(), strict=True):
        unique = verdict.valid and verdict.smiles not in seen
        seen.add(verdict.smiles)
        novel = None if known is None else unique and verdict.smiles not in known
        judged.append(JudgedMolecule(verdict, unique, novel, _perceived(part), _stable(part)))
    return MoleculeEvaluation(tuple(judged), _scores(judged, structures.n_atoms.tolist()))


def _perceived(part: Structures) -> bool:
    charge = int(part.atom["formal_charge"].sum())
    try:
        structures_of(perceive(part.species.numpy(), part.positions.numpy(), charge))
    except StructureError:
        return False
    return True


def _stable(part: Structures) -> float | None:
    try:
        return float(table_stability(part).atoms.double().mean())
    except StructureError:
        return None


def _scores(judged: Sequence[JudgedMolecule], sizes: Sequence[int]) -> dict[str, float]:
    count = len(judged)
    scores = {
        "valid": sum(one.verdict.valid for one in judged) / count,
        "unique": sum(one.unique for one in judged) / count,
    }
    if judged[0].novel is not None:
        scores["novel"] = sum(bool(one.novel) for one in judged) / count
    scores["perceived"] = sum(one.perceived for one in judged) / count
    stable = [
        (one.stable, n) for one, n in zip(judged, sizes, strict=True) if one.stable is not None
    ]
    if len(stable) == count:
        scores["atoms stable"] = sum(share * n for share, n in stable) / sum(sizes)
        scores["molecules stable"] = sum(share == 1 for share, _ in stable) / count
    return scores
