"""Generate structures, relax them if asked, and judge them; go on after any interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.io import read

from matkit.generate.batch import Batch
from matkit.generate.domains import Note, room_of
from matkit.generate.options import GENERATED, RELAXED, GenerateOptions
from matkit.generate.relaxing import Relaxer, check_potential, potential_of
from matkit.generate.sampling import Sampler, ranks_of
from matkit.generate.trials import Trials
from matkit.interfaces import Generator
from matkit.interfaces.generator import Domain
from matkit.runs.executors import open_executor
from matkit.runs.items import Item, parse_shard
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows
from matkit.runs.schedule import OnProgress, Plan, carry_out

# What has no influence on the structures, and may be another when a run goes on.
FREE = {
    "out",
    "overwrite",
    "workers",
    "executor",
    "device",
    "batch_size",
    "shard",
    "dedupe",
    "known",
    "posebusters",
}
RELAXATION = {"trials", "relax", "relax_steps", "fmax", "dispersion", "dispersion_functional"}
# Structures that a worker relaxes in batches before they are written down; enough to be fast.
TOGETHER = 50

Watch = Callable[[str], AbstractContextManager[OnProgress | None]]


def generate(
    generator: Generator,
    options: GenerateOptions,
    watch: Watch,
    note: Note = lambda text: None,
    likely: Mapping[int, float] | None = None,
) -> Batch:
    """Generate structures into a folder, relax them if asked, and judge them.

    Args:
        generator: The network, on its device.
        options: What is asked for.
        watch: Shows the progress of a stage, which it is told the name of.
        note: Told what is being done.
        likely: How likely each number of atoms is, where nothing else says it.

    Raises:
        ConfigError: what is asked for is impossible, or the folder holds something else.
        UnknownElementError: the generator does not know an element.
        UnknownNameError, MissingExtraError, CheckpointError: the potential cannot be had.
        DataError: there are no structures where known ones, or those that they are to be like,
            should be.
        SimulationError: workers cannot be had, or none lives.
    """
    room = room_of(generator.domain)
    known = room.read_known(options.known) if options.known else []
    if options.relax is not None:
        items = room.requests(options, generator, likely)
        asked = {z for item in items for z in item.content[2:]}
        possible = generator.species if not asked else ()
        note(check_potential(potential_of(options), asked, possible))
        # Workers that cannot be had are told of before the sampling.
        with open_executor(options.executor, options.workers) as executor:
            batch = draw(generator, options, watch, likely, note)
            batch = relax_batch(batch, generator.domain, options, watch, executor)
    else:
        batch = draw(generator, options, watch, likely, note)
    if not batch.generated:
        return batch
    return replace(batch, evaluation=room.judged(batch, known, options, note))


def draw(
    generator: Generator,
    options: GenerateOptions,
    watch: Watch,
    likely: Mapping[int, float] | None = None,
    note: Note = lambda text: None,
) -> Batch:
    """Sample structures into a folder; arguments and errors as of `generate`."""
    steps, room = options.steps or generator.steps, room_of(generator.domain)
    items = room.requests(options, generator, likely)
    sampler = Sampler(generator, steps, options, room, ranks_of(items))
    for name, refusal in sampler.check(items).items():
        note(f"Without {name}: {refusal}")
    settings = options.model_dump(exclude=FREE | RELAXATION)
    settings |= {"steps": steps, "weights": _checksum(generator)}
    files = _files(options, GENERATED)
    with _ledger(files, settings, options) as ledger, watch("sampling") as show:
        plan = Plan(sampler.cost, sampler.limit)
        carry_out(lambda: parse_shard(options.shard).of(items), sampler, ledger, plan, show)
    calls = steps * generator.calls_per_step
    return Batch(room.NOUN, frames_of(files), last_rows(files), network_calls=calls)


def _checksum(generator: Generator) -> str:
    """Return a checksum of the weights: a model file may have been replaced since a run began."""
    found = hashlib.sha256()
    for tensor in generator.state_dict().values():
        found.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]


def _files(options: GenerateOptions, stem: str) -> Files:
    return Files(Path(options.out), stem, parse_shard(options.shard))


def _ledger(files: Files, settings: dict[str, Any], options: GenerateOptions) -> Ledger:
    return Ledger(files, settings, options.overwrite, defaults=options.defaults())


def frames_of(files: Files) -> list[Atoms]:
    """Return the structures of a campaign; a file without any is removed."""
    if not files.frames.exists():
        return []
    if not files.frames.stat().st_size:  # whoever reads the folder would take it for damaged
        files.frames.unlink()
        return []
    return list(read(files.frames, ":", "extxyz", do_not_split_by_at_sign=True))


def relax_batch(
    batch: Batch,
    domain: Domain,
    options: GenerateOptions,
    watch: Watch,
    executor: Executor | None = None,
) -> Batch:
    """Return the batch with its structures relaxed too, and what became of each.

    Args:
        batch: Structures as they were drawn.
        domain: Of which they are.
        options: What is asked for; `relax` says what relaxes.
        watch: Shows the progress.
        executor: Where to compute, if not here.
    """
    files = _files(options, RELAXED)
    relaxer = Relaxer(potential_of(options), options.relax_steps, options.fmax, domain, options)
    work = Trials(relaxer, options.trials)
    items = [Item(number, f"{batch.noun} {number}", a) for number, a in batch.drawn.items()]
    settings = options.model_dump(include=RELAXATION)
    with _ledger(files, settings, options) as ledger, watch("relaxing") as show:
        size = min(TOGETHER, -(-len(items) // (2 * options.workers)))
        plan = Plan(_one, size, executor, 4 * options.workers)
        carry_out(lambda: iter(items), work, ledger, plan, show)
    relaxed = {batch.number(a): a for a in frames_of(files)}
    return replace(batch, relaxed=relaxed, relaxation=last_rows(files))


def _one(_item: Item) -> int:
    return 1
