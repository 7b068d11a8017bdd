"""The dear stages of judging molecules, each with a ledger: it goes on after any interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matkit.generate.relaxing import Relaxer, charged
from matkit.generate.run import Watch, frames_of
from matkit.molecules.judging import DrawnMolecule
from matkit.molecules.options import PoseChecks
from matkit.molecules.poses import PoseBuster
from matkit.molecules.relaxation import strain_of
from matkit.runs.executors import open_executor
from matkit.runs.items import Item
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, Row, last_rows
from matkit.runs.schedule import Plan, carry_out
from matkit.runs.spreading import Work

# Molecules that a worker takes together; a ledger is written after them.
TOGETHER = 20


@dataclass(frozen=True)
class Workplace:
    """Where the stages work and write.

    Attributes:
        folder: Of the ledgers.
        workers: Processes.
        executor: See `matkit.runs.executors.open_executor`.
        overwrite: Whether to begin anew.
        watch: Shows the progress of a stage, which it is told the name of.
    """

    folder: Path
    workers: int
    executor: str
    overwrite: bool
    watch: Watch


def check_poses(
    molecules: Sequence[DrawnMolecule], checks: PoseChecks, stem: str, place: Workplace
) -> dict[int, Row]:
    """Return what the ledger says of the checks of PoseBusters, by number of the molecule."""
    files = Files(place.folder, stem)
    _carry_out(molecules, PoseBuster(checks), files, {"checks": checks}, place)
    frames_of(files)  # removes the file for structures, which is empty
    return last_rows(files)


def relax_molecules(
    molecules: Sequence[DrawnMolecule], relaxer: Relaxer, stem: str, place: Workplace
) -> dict[int, dict[str, Any]]:
    """Return what the relaxation has done, as `strain_of` says, by number of the molecule."""
    files = Files(place.folder, stem)
    _carry_out(molecules, relaxer, files, _settings(relaxer), place)
    rows = last_rows(files)
    done = [number for number, row in sorted(rows.items()) if row["status"] == "done"]
    after = dict(zip(done, frames_of(files), strict=True))
    return {
        number: strain_of(before, after.get(number), row)
        for number, row in rows.items()
        if (before := molecules[number].atoms) is not None
    }


def _settings(relaxer: Relaxer) -> Mapping[str, Any]:
    potential = relaxer.potential
    return {"relax": potential.model, "relax_steps": relaxer.steps, "fmax": relaxer.fmax}


def _carry_out(
    molecules: Sequence[DrawnMolecule],
    work: Work,
    files: Files,
    settings: Mapping[str, Any],
    place: Workplace,
) -> None:
    items = [
        Item(number, one.source, None if one.atoms is None else charged(one.atoms), one.reason)
        for number, one in enumerate(molecules)
    ]
    size = max(1, min(TOGETHER, -(-len(items) // (2 * place.workers))))
    with (
        open_executor(place.executor, place.workers) as executor,
        Ledger(files, settings, place.overwrite) as ledger,
        place.watch(files.stem) as show,
    ):
        plan = Plan(_one, size, executor, 4 * place.workers)
        carry_out(lambda: iter(items), work, ledger, plan, show)


def _one(_item: Item) -> int:
    return 1
