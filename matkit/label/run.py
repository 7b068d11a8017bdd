"""Label a file of any size, in parts, over processes, and go on after any interruption."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matkit.errors import ConfigError
from matkit.label.engines import load_engine
from matkit.label.entries import entries
from matkit.label.labels import Engine
from matkit.label.options import LabellingOptions
from matkit.label.worker import label_items, second_spec, spec_of
from matkit.runs.items import WHOLE, Item, Shard
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows, write_settings
from matkit.runs.schedule import OnProgress, Plan, carry_out
from matkit.runs.versions import versions

STEM = "labels"
# What may be changed when a run goes on.
FREE = {"device", "batch_atoms", "format"}
UNITS = {
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "hessian": "eV/Å²",
    "hamiltonian": "eV",
    "dipole": "e Å",
    "charges": "e",
}
# Failures that are listed with the settings; the ledger has all.
MOST_LISTED = 100


@dataclass(frozen=True)
class Labelling:
    """What became of all structures of one shard.

    Attributes:
        files: Where the labels are.
        done: Structures with labels.
        rejected: Structures that a filter rejected.
        failed: Structures without labels.
        reasons: Source and reason of the first that failed.
        document: Everything about the run, fit for JSON.
    """

    files: Files
    done: int
    rejected: int
    failed: int
    reasons: tuple[tuple[str, str], ...]
    document: dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """Where labels go and where the work is done.

    Attributes:
        out: Folder.
        shard: Which part of the structures.
        overwrite: Whether to begin anew.
        retry: Whether structures that failed are tried again.
        executor: Any executor of `concurrent.futures`, such as Parsl's or a pool of processes;
            None for this process.
        in_flight: Pieces of work that an executor has at once.
    """

    out: str | Path
    shard: Shard = WHOLE
    overwrite: bool = False
    retry: bool = False
    executor: Executor | None = None
    in_flight: int = 4


def label(
    structures: str | Path | Sequence[str | Path],
    where: Placement | str | Path,
    options: LabellingOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Labelling:
    """Label structures, or go on with it.

    The labels are in ``labels.extxyz``, one frame for each structure that got some, as
    `REF_energy`, `REF_forces` and `REF_stress`, and `REF_dipole` and `REF_charges` of molecules
    where the calculator gives them; ``labels.jsonl`` says what became of every
    structure and ``labels.json`` how they were made. Hessians are read by `read_hessians`.

    Args:
        structures: Files or folders, see `matkit.label.entries.entries`.
        where: Folder, or more about it.
        options: How to label.
        on_progress: Called after every piece of work.

    Raises:
        ConfigError: the calculator cannot be made, or labels in the folder were made otherwise.
        DataError: a file is missing or is not what it was when the labels were begun.
        OutputExistsError: there are structures of unknown origin.
        SimulationError: no worker lives.
    """
    options = options or LabellingOptions()
    where = where if isinstance(where, Placement) else Placement(where)
    paths = [structures] if isinstance(structures, str | Path) else list(structures)
    engine = load_engine(spec_of(options))
    if options.hessian == "autograd" and not engine.exact:
        raise ConfigError(
            f"{options.calculator} has no exact Hessian. Use hessian finite-difference, or a "
            "matkit model."
        )
    begin = time.perf_counter()
    files = Files(Path(where.out), STEM, where.shard)
    settings = options.model_dump(exclude=FREE) | {"precision": options.precision}
    with Ledger(files, settings, where.overwrite, where.retry, options.defaults()) as ledger:
        work = partial(label_items, options)
        plan = Plan(_atoms, _limit(engine, options), where.executor, where.in_flight)
        carry_out(
            lambda: where.shard.of(entries(paths, options.format)), work, ledger, plan, on_progress
        )
    document = _document(options, engine, settings, files, time.perf_counter() - begin)
    write_settings(files, document)
    return _summary(files, document)


def _atoms(item: Item) -> int:
    return 0 if item.content is None else len(item.content)


def _limit(engine: Engine, options: LabellingOptions) -> int:
    """Return how many atoms go together; 0 is one structure at a time."""
    return options.batch_atoms if engine.batched and options.hessian is None else 0


def _document(
    options: LabellingOptions,
    engine: Engine,
    settings: dict[str, Any],
    files: Files,
    wall_time: float,
) -> dict[str, Any]:
    second = second_spec(options)
    rows = last_rows(files).values()
    counts = {s: sum(row["status"] == s for row in rows) for s in ("done", "rejected", "failed")}
    return {
        "command": "label",
        "settings": settings,
        "calculator": engine.info,
        "agree": None if second is None else load_engine(second).info,
        "units": UNITS,
        "versions": versions(),
        "counts": counts,
        "ignored": sum("ignored" in row for row in rows),
        "failed": [[row["source"], row["reason"]] for row in rows if row["status"] == "failed"][
            :MOST_LISTED
        ],
        "wall_time": wall_time,
    }


def _summary(files: Files, document: dict[str, Any]) -> Labelling:
    reasons = tuple((source, reason) for source, reason in document["failed"])
    return Labelling(files, **document["counts"], reasons=reasons, document=document)
