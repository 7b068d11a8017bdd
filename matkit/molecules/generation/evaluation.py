"""Scores of a batch of molecules, and of what relaxing has done to them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from matkit.generate.batch import Batch
from matkit.generate.domains import Note
from matkit.molecules.ceilings import with_ceilings
from matkit.molecules.evaluation import MoleculeEvaluation, share_scores
from matkit.molecules.generation.options import MoleculeOptions
from matkit.molecules.judging import DrawnMolecule, judge_molecules
from matkit.molecules.relaxation import strain_of
from matkit.molecules.scoring import pose_score, strain_scores
from matkit.molecules.stages import Workplace, check_poses
from matkit.runs.items import parse_shard
from matkit.runs.ledger_files import Row


def evaluate_batch(
    batch: Batch, known: Collection[str] | None, options: MoleculeOptions, note: Note
) -> MoleculeEvaluation:
    """Return all scores of the molecules as they were drawn, and of what relaxing did to them.

    Args:
        batch: Molecules, not none.
        known: SMILES that are not novel; None to judge no novelty.
        options: How they were made.
        note: Told what is being done.
    """
    drawn = [DrawnMolecule(f"molecule {batch.number(one)}", one) for one in batch.generated]
    judged = judge_molecules(drawn, known)
    scores, rows = share_scores(judged), dict[int, Row]()
    strains = _strains(batch)
    if options.posebusters is not None:
        note(f"Checking {len(drawn)} molecules with PoseBusters")
        stem = f"posebusters{parse_shard(options.shard).suffix}"
        rows = check_poses(drawn, options.posebusters, stem, _place(options))
        scores += with_ceilings([pose_score(rows, options.posebusters)])
    if options.relax is not None:
        counts = len(drawn), 0
        scores += with_ceilings(strain_scores(strains, options.relax, counts))
    return MoleculeEvaluation(judged, scores, poses=rows, strains=strains)


def _strains(batch: Batch) -> dict[int, dict[str, Any]]:
    """Return what relaxing did to each molecule, by its place in the batch."""
    found = {}
    for place, atoms in enumerate(batch.generated):
        number = batch.number(atoms)
        if number in batch.relaxation:
            row = batch.relaxation[number]
            found[place] = strain_of(atoms, batch.relaxed.get(number), row)
    return found


def _place(options: MoleculeOptions) -> Workplace:
    return Workplace(
        Path(options.out),
        options.workers,
        options.executor,
        options.overwrite,
        watch=lambda stage: nullcontext(),
    )
