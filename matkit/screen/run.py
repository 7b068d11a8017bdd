"""Carry the chain out: every step over all candidates that are left, going on after any end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from matkit.calculator_info import model_info
from matkit.generate.run import Watch
from matkit.runs.executors import open_executor
from matkit.runs.items import Item, ItemResult, Shard, failed, parse_shard
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows
from matkit.runs.schedule import Plan, carry_out
from matkit.runs.spreading import Work
from matkit.screen.candidates import candidates
from matkit.screen.chain import Step, chain
from matkit.screen.model import calculator
from matkit.screen.options import ScreenOptions

# Options that say what computes.
POTENTIAL = ("model", "dispersion", "dispersion_functional")
# What frames say of themselves, so that results find their candidates again.
NUMBER = "candidate"


def carry_chain_out(options: ScreenOptions, watch: Watch, note: Callable[[str], None]) -> None:
    """Do what is left of the chain for the candidates of a shard; results are in its ledgers.

    Args:
        options: What is asked for.
        watch: Shows the progress of a step, which it is told the name of.
        note: Told what is being done.

    Raises:
        ConfigError: the steps or candidates are impossible, or the folder holds something else.
        DataError: a file is missing or is not what it was when the screening was begun.
        UnknownNameError, MissingExtraError, CheckpointError: a model or a step cannot be had.
        SimulationError: workers cannot be had, or none lives.
    """
    steps = chain(options)
    with open_executor(options.executor, options.workers) as executor:
        items = candidates(options, watch, note)
        for step in steps:
            step.check(options, items)
        for number, step in enumerate(steps):
            done_before = [one.name for one in steps[:number]]
            _carry_out(step, items, options, done_before, executor, watch)
            items = _left(step_files(options, step, parse_shard(options.shard)), items)


def step_files(options: ScreenOptions, step: Step, shard: Shard) -> Files:
    """Return the files of a step."""
    return Files(Path(options.out), step.name, shard)


def _carry_out(
    step: Step,
    items: Sequence[Item],
    options: ScreenOptions,
    before: Sequence[str],
    executor: Executor | None,
    watch: Watch,
) -> None:
    files = step_files(options, step, parse_shard(options.shard))
    settings = _settings(step, options, before)
    work: Work = partial(worked, step, options)
    limit = options.batch_atoms if step.batched else 0
    plan = Plan(_atoms, limit, executor, 4 * options.workers)
    if step.whole:
        work, plan = partial(_part_of_all, work, items), Plan(_atoms, sys.maxsize)
    how = options.overwrite, options.retry_failed, options.defaults()
    with (
        Ledger(files, settings, *how) as ledger,
        watch(step.name) as show,
    ):
        carry_out(lambda: items, work, ledger, plan, show)


def _settings(step: Step, options: ScreenOptions, before: Sequence[str]) -> dict[str, Any]:
    """Return what the results of a step depend on besides its candidates."""
    info = model_info(calculator(options))
    model = {"weights": info.get("sha256"), "before": list(before)}
    return options.model_dump(include={*step.options, *POTENTIAL}) | model


def worked(step: Step, options: ScreenOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Return what becomes of candidates in a step; what is no structure has failed."""
    readable = [item for item in items if item.content is not None]
    outcomes = {item.index: failed(item, item.reason) for item in items if item.content is None}
    for outcome in step.work(options, readable) if readable else []:
        outcomes[outcome.item.index] = _marked(outcome)
    return [outcomes[item.index] for item in items]


def _part_of_all(
    work: Work,
    everything: Sequence[Item],
    items: Sequence[Item],
) -> list[ItemResult]:
    """Return what becomes of some candidates where that depends on all."""
    wanted = {item.index for item in items}
    return [outcome for outcome in work(everything) if outcome.item.index in wanted]


def _marked(outcome: ItemResult) -> ItemResult:
    """Return an outcome that says which crystal it is about, in its frames too."""
    atoms: Atoms = outcome.item.content
    facts = {"formula": atoms.get_chemical_formula("metal"), "n_atoms": len(atoms)}
    frames = tuple(_bare(frame, outcome.item.index) for frame in outcome.frames)
    return replace(outcome, frames=frames, facts=facts | dict(outcome.facts))


def _bare(atoms: Atoms, number: int) -> Atoms:
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    bare.info = {NUMBER: number} | {k: v for k, v in atoms.info.items() if k != NUMBER}
    return bare


def _left(files: Files, items: Sequence[Item]) -> list[Item]:
    """Return the candidates that go on, as the step has left them."""
    frames = frames_of(files)
    return [
        Item(item.index, item.source, frames[item.index]) for item in items if item.index in frames
    ]


def frames_of(files: Files) -> Mapping[int, Atoms]:
    """Return the structures of a step by the number of their candidate."""
    if not files.frames.exists() or not files.frames.stat().st_size:
        return {}
    frames = read(files.frames, ":", "extxyz", do_not_split_by_at_sign=True)
    done = {number for number, row in last_rows(files).items() if row["status"] == "done"}
    by_number = {int(atoms.info[NUMBER]): atoms for atoms in frames}
    return {number: atoms for number, atoms in by_number.items() if number in done}


def _atoms(item: Item) -> int:
    return 0 if item.content is None else len(item.content)
