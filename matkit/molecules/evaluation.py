"""How good a set of molecules is, by named protocols and beside the same of true molecules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matkit.evaluate.scores import Score, fraction
from matkit.molecules.ceilings import with_ceilings
from matkit.molecules.judging import JudgedMolecule
from matkit.runs.ledger_files import Row

# What each score means, by its name; all are shares of everything that was drawn.
PROTOCOLS = {
    "valid": "sanitises by the bonds it came with, without unpaired electrons, one fragment",
    "perceived": "the same by bonds found within 1.15 times the covalent radii (RDKit, VdW)",
    "perceived by RDKit": "the same by bonds found with RDKit's own defaults (connect the dots)",
    "unique": "valid, by bonds found where it came with none, and no earlier one has its SMILES",
    "novel": "unique, and not among the known molecules",
    "atoms stable": "bonds by EDM's table of distances add up to the valence; of all atoms",
    "molecules stable": "all atoms are stable by EDM's table",
}
JudgedMolecules = Sequence[JudgedMolecule]


@dataclass(frozen=True)
class MoleculeEvaluation:
    """Molecules and their scores.

    Attributes:
        molecules: What is known of each.
        scores: Of the set.
        reference: True molecules, judged alike; empty without any.
        poses: What the ledger of PoseBusters says, by number of the molecule; empty if not asked.
        strains: What a relaxation has done, as `matkit.molecules.relaxation.strain_of` says, by
            number of the molecule; empty if not asked.
    """

    molecules: JudgedMolecules
    scores: Sequence[Score]
    reference: JudgedMolecules = ()
    poses: Mapping[int, Row] = field(default_factory=dict)
    strains: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


def share_scores(judged: JudgedMolecules, reference: JudgedMolecules | None = None) -> list[Score]:
    """Return shares of a set that pass each protocol.

    Args:
        judged: At least one molecule.
        reference: True molecules, judged alike; without them, what QM9 reaches stands beside.
    """
    tests: dict[str, Callable[[JudgedMolecule], bool]] = {
        "valid": lambda one: one.own is not None and one.own.valid,
        "perceived": lambda one: one.perceived.valid,
        "perceived by RDKit": lambda one: one.by_rdkit.valid,
        "unique": lambda one: one.unique,
        "novel": lambda one: bool(one.novel),
    }
    scores = []
    for name, test in tests.items():
        if _is_defined(name, judged):
            theirs = reference if reference and _is_defined(name, reference) else None
            flags = None if theirs is None else [test(one) for one in theirs]
            scores.append(fraction(name, [test(one) for one in judged], PROTOCOLS[name], flags))
    scores += _table_scores(judged, reference)
    return scores if reference is not None else with_ceilings(scores)


def _is_defined(name: str, judged: JudgedMolecules) -> bool:
    """Return whether molecules came with bonds, or are compared with known ones."""
    if name == "valid":
        return any(one.own is not None for one in judged)
    return name != "novel" or any(one.novel is not None for one in judged)


def _table_scores(judged: JudgedMolecules, reference: JudgedMolecules | None) -> list[Score]:
    """Return the scores by EDM's table, if it has all elements."""
    mine = _stability(judged)
    if mine is None:
        return []
    theirs = (None if reference is None else _stability(reference)) or (None, None)
    counts = f"{sum(one.n_atoms for one in judged)} atoms", f"{len(judged)} molecules"
    return [
        Score(name, value, of, PROTOCOLS[name], other, is_share=True)
        for name, value, of, other in zip(
            ("atoms stable", "molecules stable"), mine, counts, theirs, strict=True
        )
    ]


def _stability(judged: JudgedMolecules) -> tuple[float, float] | None:
    """Return the shares of stable atoms and molecules; None if the table lacks an element."""
    read = [one for one in judged if one.n_atoms]
    if not read or any(one.stable_atoms is None for one in read):
        return None
    whole = sum(one.stable_atoms == one.n_atoms for one in read)
    atoms = sum(one.stable_atoms or 0 for one in read)
    return atoms / sum(one.n_atoms for one in read), whole / len(judged)
