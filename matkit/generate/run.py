"""Generate crystals, relax them if asked, and judge them; go on after any interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.io import read

from matkit.campaign.files import Files, Row, last_rows
from matkit.campaign.items import Item, parse_shard
from matkit.campaign.ledger import Ledger
from matkit.campaign.schedule import OnProgress, Plan, carry_out, open_executor
from matkit.crystals.evaluation import Note, evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.reading import Crystal, crystal_of, read_and_tell
from matkit.crystals.results import Evaluation
from matkit.generate.options import GENERATED, RELAXED, CrystalOptions
from matkit.generate.relaxing import Relaxer, check_potential
from matkit.generate.requests import requests
from matkit.generate.sampling import Sampler
from matkit.interfaces import Generator

# What has no influence on the crystals, and may be another when a run goes on.
FREE = {"out", "overwrite", "workers", "device", "batch_size", "shard", "dedupe", "known"}
RELAXATION = {"relax", "relax_steps", "fmax"}

Watch = Callable[[str], AbstractContextManager[OnProgress | None]]


@dataclass(frozen=True)
class Batch:
    """Crystals that were made, and what is known of them.

    Attributes:
        generated: Crystals as they were drawn.
        rows: What the ledger says of each of them: seconds, why one failed.
        relaxed: Relaxed crystals by number.
        relaxation: What the ledger says of the relaxations, by number.
        evaluation: Scores; None if there are no crystals.
        network_calls: Steps of the sampler.
        metrics: Counts and scores as they were written.
    """

    generated: Sequence[Atoms]
    rows: dict[int, Row]
    relaxed: dict[int, Atoms] = field(default_factory=dict)
    relaxation: dict[int, Row] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    network_calls: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drawn(self) -> dict[int, Atoms]:
        """Crystals as they were drawn, by number."""
        return {int(atoms.info["crystal"]): atoms for atoms in self.generated}


def generate(
    generator: Generator,
    options: CrystalOptions,
    watch: Watch,
    note: Note = lambda text: None,
    learnt: Mapping[int, int] | None = None,
) -> Batch:
    """Generate crystals into a folder, relax them if asked, and judge them.

    Args:
        generator: The network, on its device.
        options: What is asked for.
        watch: Shows the progress of a stage, which it is told the name of.
        note: Told what is being done.
        learnt: How many crystals of each number of atoms the generator was trained on.

    Raises:
        ConfigError: what is asked for is impossible, or the folder holds something else.
        UnknownElementError: the generator does not know an element.
        UnknownNameError, MissingExtraError, CheckpointError: the potential cannot be had.
        DataError: there are no structures where known ones, or those that they are to be like,
            should be.
    """
    known = read_and_tell(options.known) if options.known else []
    if options.relax is not None:
        asked = {z for item in requests(options, generator, learnt) for z in item.content[2:]}
        possible = generator.species if not asked else ()
        note(check_potential(options.relax, options.device, asked, possible))
    batch = draw(generator, options, watch, learnt)
    relaxed, relaxation = _relaxed(batch.generated, options, watch)
    return _judged(replace(batch, relaxed=relaxed, relaxation=relaxation), known, options, note)


def draw(
    generator: Generator,
    options: CrystalOptions,
    watch: Watch,
    learnt: Mapping[int, int] | None = None,
) -> Batch:
    """Sample crystals into a folder; arguments and errors as of `generate`."""
    steps = options.steps or generator.steps
    sampler = Sampler(generator, steps, options)
    items = requests(options, generator, learnt)
    sampler.check(items)
    settings = options.model_dump(exclude=FREE | RELAXATION)
    settings |= {"steps": steps, "weights": _checksum(generator)}
    files = _files(options, GENERATED)
    with Ledger(files, settings, options.overwrite) as ledger, watch("sampling") as show:
        plan = Plan(sampler.cost, sampler.limit)
        carry_out(lambda: parse_shard(options.shard).of(items), sampler, ledger, plan, show)
    calls = steps * generator.calls_per_step
    return Batch(_frames(files), last_rows(files), network_calls=calls)


def _checksum(generator: Generator) -> str:
    """Return a checksum of the weights: a model file may have been replaced since a run began."""
    found = hashlib.sha256()
    for tensor in generator.state_dict().values():
        found.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]


def _files(options: CrystalOptions, stem: str) -> Files:
    return Files(Path(options.out), stem, parse_shard(options.shard))


def _frames(files: Files) -> list[Atoms]:
    if not files.frames.exists():
        return []
    if not files.frames.stat().st_size:  # whoever reads the folder would take it for damaged
        files.frames.unlink()
        return []
    return list(read(files.frames, ":", "extxyz", do_not_split_by_at_sign=True))


def _relaxed(
    drawn: Sequence[Atoms], options: CrystalOptions, watch: Watch
) -> tuple[dict[int, Atoms], dict[int, Row]]:
    """Return the relaxed crystals and what became of all, by number."""
    if options.relax is None:
        return {}, {}
    files = _files(options, RELAXED)
    work = Relaxer(options.relax, options.device, options.relax_steps, options.fmax)
    items = [Item(int(a.info["crystal"]), f"crystal {a.info['crystal']}", a) for a in drawn]
    settings = options.model_dump(include=RELAXATION)
    with (
        Ledger(files, settings, options.overwrite) as ledger,
        open_executor(options.workers) as executor,
        watch("relaxing") as show,
    ):
        plan = Plan(_one, 0, executor, 4 * options.workers)
        carry_out(lambda: iter(items), work, ledger, plan, show)
    return {int(a.info["crystal"]): a for a in _frames(files)}, last_rows(files)


def _one(item: Item) -> int:
    return 1


def _judged(batch: Batch, known: Sequence[Crystal], options: CrystalOptions, note: Note) -> Batch:
    """Return the batch with its scores."""
    if not batch.generated:
        return batch
    entries = [crystal_of(a, f"crystal {a.info['crystal']}") for a in batch.generated]
    sets: dict[str, Sequence[Crystal]] = {"generated": entries}
    if known:
        sets["known"] = known
    judging = CrystalsOptions(workers=options.workers, seed=options.seed)
    evaluation = evaluate_crystals(sets, judging, note=note)
    return replace(batch, evaluation=evaluation)
