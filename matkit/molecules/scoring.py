"""All scores of a set of generated molecules, the dear ones if they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from matkit.errors import DataError
from matkit.evaluate.scores import Score, distribution, draw, fraction
from matkit.generate.domains import Note
from matkit.generate.relaxing import Relaxer, RelaxingPotential, check_potential
from matkit.molecules import chemnet, poses
from matkit.molecules.ceilings import with_ceilings
from matkit.molecules.distributions import geometry_scores
from matkit.molecules.evaluation import JudgedMolecules, MoleculeEvaluation, share_scores
from matkit.molecules.judging import DrawnMolecule, judge_molecules
from matkit.molecules.options import MoleculeScoreOptions, PoseChecks
from matkit.molecules.relaxation import median
from matkit.molecules.stages import Workplace, check_poses, relax_molecules
from matkit.molecules.validity import MoleculeVerdict
from matkit.runs.ledger_files import Row


@dataclass(frozen=True)
class MoleculeSets:
    """What is judged and what it is compared with.

    Attributes:
        generated: What was drawn, unreadable entries too.
        reference: True molecules; empty without any.
        known: SMILES that are not novel; None if nothing is known.
    """

    generated: Sequence[DrawnMolecule]
    reference: Sequence[DrawnMolecule] = ()
    known: Collection[str] | None = None


def evaluate_molecules(
    sets: MoleculeSets,
    options: MoleculeScoreOptions,
    place: Workplace,
    note: Note = lambda text: None,
) -> MoleculeEvaluation:
    """Judge generated molecules, and the reference in the same way.

    Args:
        sets: Molecules.
        options: What is asked for.
        place: Where the dear stages work.
        note: Told what is being done.

    Raises:
        DataError: there are no molecules.
        MissingExtraError: a package that is needed is not installed.
        UnknownNameError, CheckpointError: the potential that relaxes cannot be had.
    """
    if not sets.generated:
        raise DataError("Expected molecules to judge, got none. Name files that hold some.")
    _check(options, note)
    rng = np.random.default_rng(options.seed)
    reference = _sample(sets.reference, options.draw, rng)
    note(f"Judging {len(sets.generated)} molecules, and {len(reference)} of the reference")
    judged = judge_molecules(sets.generated, sets.known)
    theirs = judge_molecules(reference) if reference else None
    scores = share_scores(judged, theirs)
    if theirs is not None:
        scores += _comparisons(judged, theirs, options, rng)
    found, rows = _pose_scores(sets.generated, reference, options, place)
    strained, strains = _relaxation_scores(sets.generated, reference, options, place)
    dear = [*found, *strained]
    scores += dear if reference else with_ceilings(dear)
    return MoleculeEvaluation(judged, scores, theirs or (), rows, strains)


def _check(options: MoleculeScoreOptions, note: Note) -> None:
    """Raise what is missing before anything is computed."""
    if options.posebusters is not None:
        poses.check_installed()
    if options.fcd:
        chemnet.check_installed()
    if options.relax is not None:
        note(check_potential(RelaxingPotential(options.relax, options.device), [], []))


def _sample(
    molecules: Sequence[DrawnMolecule], most: int, rng: np.random.Generator
) -> list[DrawnMolecule]:
    return [molecules[i] for i in draw([True] * len(molecules), most, rng)]


def _comparisons(
    judged: JudgedMolecules,
    reference: JudgedMolecules,
    options: MoleculeScoreOptions,
    rng: np.random.Generator,
) -> list[Score]:
    """Return distances of distributions."""
    protocol = "Wasserstein distance of the numbers of atoms, of all that could be read"
    scores = [distribution("W sizes", _sizes(judged), _sizes(reference), protocol, rng)]
    mine, theirs = _valid(judged), _valid(reference)
    some = draw([True] * len(mine), options.draw, rng)
    scores += geometry_scores(
        [mine[i].molecule for i in some], [one.molecule for one in theirs], rng
    )
    if options.fcd:
        smiles = [one.smiles for one in mine], [one.smiles for one in theirs]
        scores.append(chemnet.chemnet_score(smiles[0], smiles[1], rng))
    return scores


def _sizes(judged: JudgedMolecules) -> list[float]:
    return [float(one.n_atoms) for one in judged if one.n_atoms]


def _valid(judged: JudgedMolecules) -> list[MoleculeVerdict]:
    return [one.verdict for one in judged if one.verdict.valid]


def _pose_scores(
    generated: Sequence[DrawnMolecule],
    reference: Sequence[DrawnMolecule],
    options: MoleculeScoreOptions,
    place: Workplace,
) -> tuple[list[Score], dict[int, Row]]:
    checks = options.posebusters
    if checks is None:
        return [], {}
    rows = check_poses(generated, checks, "posebusters", place)
    theirs = None
    if reference:
        theirs = _passed(check_poses(reference, checks, "posebusters-reference", place))
    return [pose_score(rows, checks, theirs)], rows


def pose_score(
    rows: dict[int, Row], checks: PoseChecks, reference: Sequence[bool] | None = None
) -> Score:
    """Return the share that passes PoseBusters, from what its ledger says."""
    protocol = poses.PROTOCOL.format(checks=checks)
    return fraction(f"PoseBusters {checks}", _passed(rows), protocol, reference)


def _passed(rows: dict[int, Row]) -> list[bool]:
    return [row["status"] == "done" for row in rows.values()]


def _relaxation_scores(
    generated: Sequence[DrawnMolecule],
    reference: Sequence[DrawnMolecule],
    options: MoleculeScoreOptions,
    place: Workplace,
) -> tuple[list[Score], dict[int, dict[str, Any]]]:
    if options.relax is None:
        return [], {}
    potential = RelaxingPotential(options.relax, options.device)
    relaxer = Relaxer(potential, options.relax_steps, options.fmax, "molecule")
    mine = relax_molecules(generated, relaxer, "relaxed", place)
    theirs = None
    if reference:
        theirs = relax_molecules(reference, relaxer, "relaxed-reference", place)
    counts = len(generated), len(reference)
    return strain_scores(mine, options.relax, counts, theirs), mine


def strain_scores(
    strains: dict[int, dict[str, Any]],
    model: str,
    counts: tuple[int, int],
    reference: dict[int, dict[str, Any]] | None = None,
) -> list[Score]:
    """Return what relaxing has done to a set.

    Args:
        strains: By number of the molecule.
        model: What relaxed.
        counts: Molecules that were drawn, and those of the reference.
        reference: The same of the reference, or None.
    """
    of = f"{sum('strain' in one for one in strains.values())} that relaxed, of {counts[0]}"
    text = f"median {{}} of a relaxation by {model}; of molecules that relax and stay whole"
    scores = []
    for name, key, what in (
        ("relaxation energy", "strain", "energy in kcal/mol"),
        ("relaxation RMSD", "rmsd", "displacement in Å, all atoms, superposed,"),
    ):
        theirs = None if reference is None else median(reference, key)
        mine = median(strains, key)
        scores.append(Score(f"{name} ({model})", mine, of, text.format(what), theirs))
    kept, flags = (
        [one["bonds_kept"] for one in which.values()] for which in (strains, reference or {})
    )
    protocol = f"has after relaxing by {model} the bonds it had before; of all that was drawn"
    missing = [False] * (counts[0] - len(kept))
    theirs_kept = None if reference is None else flags + [False] * (counts[1] - len(flags))
    scores.append(fraction(f"bonds kept ({model})", kept + missing, protocol, theirs_kept))
    return scores
