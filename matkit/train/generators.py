"""Train a generator: from files of structures to a model file, a log and a report in one folder."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from matkit.interfaces import Generator
from matkit.models import building, checkpoint
from matkit.structures import Structures
from matkit.train.batching import Batches, loader
from matkit.train.bfloat16 import bfloat16_speed
from matkit.train.generator_network import (
    atom_counts,
    generator_architecture,
    known_generator,
    new_generator,
    property_spread,
    trained_file,
)
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import Examples, GeneratorSets, read_generator_sets
from matkit.train.objective import Average, Objective, TrainingStep
from matkit.train.optimizers import optimizers
from matkit.train.progress import Row
from matkit.train.session import Listener, TrainingResult, carry_out, open_session

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from matkit.train.loop import Trainer


class GeneratorObjective(Objective):
    """Loss of a generator on a batch of structures.

    Args:
        model: Generator.
        options: Options.
    """

    def __init__(self, model: Generator, options: GeneratorOptions) -> None:
        super().__init__()
        self.model: Generator = model
        self.options = options

    def forward(self, batch: Structures) -> TrainingStep:
        """Return the loss of a batch, with random times and noise."""
        mixed = self.options.mixed_precision
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=mixed):
            terms = self.model.loss(batch, torch.default_generator)
        means = {name: term.mean() for name, term in terms.items()}
        return TrainingStep(
            torch.stack(list(means.values())).sum(),
            {name: mean.detach() for name, mean in means.items()},
            {name: term.detach() for name, term in terms.items()},
        )

    @torch.no_grad()
    def validate(
        self, model: Generator, batches: Iterable[Structures], fabric: Fabric
    ) -> dict[str, float]:
        """Return the mean of what decides, and the terms; times and noise are always the same."""
        rng = torch.Generator().manual_seed(self.options.seed + fabric.global_rank)
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            for name, term in model.loss(batch.to(fabric.device), rng).items():
                sums[name] = sums.get(name, 0.0) + float(term.double().sum())
            count += len(batch)
        # A process may have had no batch; the first one always has.
        names = fabric.broadcast(list(sums))
        local = torch.tensor([count, *(sums.get(name, 0.0) for name in names)])
        total, *rest = torch.as_tensor(fabric.all_reduce(local.double(), reduce_op="sum")).tolist()
        means = {name: value / total for name, value in zip(names, rest, strict=True)}
        decisive = self.model.decisive or means.keys()
        return {"loss": sum(means[name] for name in means if name in decisive), **means}


class ExampleSet(TorchDataset[Structures]):
    """Any structures of a set as one batch, asked for by their numbers.

    Args:
        examples: Structures.
    """

    def __init__(self, examples: Examples) -> None:
        structures = examples.structures
        index = torch.arange(len(examples))  # which structure of the set it is, for messages
        self.structures = structures.replace(system={**structures.system, "index": index})

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, which: Sequence[int]) -> Structures:
        return self.structures.index(which)


def train_generator(
    options: GeneratorOptions, listener: Listener | None = None, start: Path | None = None
) -> TrainingResult:
    """Train a generator.

    Args:
        options: Options.
        listener: Whom the training tells what it does.
        start: Model file to start from, in the place of the one that `options.model` may name.

    Raises:
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, DataError, TrainingError, CheckpointError: see `matkit.train`.
    """
    with open_session(options, listener) as session:
        name, _ = generator_architecture(options)
        architecture = building.model_class(name, Generator)
        sets = read_generator_sets(options, architecture.domain)
        sets = sets.prepared(architecture.prepared)
        for note in (*sets.notes, *_notes(session.fabric, options, architecture)):
            session.listener.note(note)
        start = start or trained_file(options)
        generator, facts = (
            new_generator(options, sets.train.structures)
            if start is None
            else known_generator(start, options, sets.train.structures)
        )
        trainer = _trainer(session.fabric, options, sets, generator)
        # What was added says nothing before it is trained, and may cost some of the rest.
        trainer.objective.keeps_start = not facts.get("added")

        def keep(row: Row) -> None:
            checkpoint.save(trainer.average.model, session.model, _card(options, row, sets))

        outcome = carry_out(session, trainer, facts, keep)
        if not (options.report and outcome.model and session.fabric.is_global_zero):
            return outcome
        from matkit.train.generator_report import report

        return replace(outcome, metrics=report(outcome, options, facts))


def _notes(fabric: Fabric, options: GeneratorOptions, architecture: type[Generator]) -> list[str]:
    """Return what chooses the best epoch, if not the loss, and what is slower than it need be."""
    notes = []
    if architecture.decisive:
        terms = " and ".join(sorted(architecture.decisive))
        notes.append(
            f"The best epoch is chosen by {terms}: valid_loss is their sum, train_loss that of all "
            "terms."
        )
    if options.mixed_precision and fabric.device.type == "cpu" and (speed := bfloat16_speed()) < 1:
        notes.append(
            f"This processor multiplies matrices {speed:.1f} times as fast in bfloat16 as in "
            "float32: training is faster without mixed_precision."
        )
    return notes


def _trainer(
    fabric: Fabric, options: GeneratorOptions, sets: GeneratorSets, generator: Generator
) -> Trainer:
    from matkit.train.loop import Batched, Trainer

    generator = generator.to(fabric.device)
    average = Average(copy.deepcopy(generator), options.ema_decay if options.ema else 0.0)
    objective = GeneratorObjective(generator.train(), options)
    order = _batches(fabric, sets.train, options, True)
    batched = Batched(
        train=loader(ExampleSet(sets.train), order, options.num_workers),
        order=order,
        valid=_in_order(fabric, sets.valid, options),
        retained=None,
        sources=sets.train.sources,
    )
    learnt = optimizers(objective.parameters(), options)
    return Trainer(fabric, objective, average, batched, learnt, options)


def _in_order(
    fabric: Fabric, examples: Examples, options: GeneratorOptions
) -> DataLoader[Structures]:
    return loader(ExampleSet(examples), _batches(fabric, examples, options, False))


def _batches(
    fabric: Fabric, examples: Examples, options: GeneratorOptions, shuffled: bool
) -> Batches:
    """Return batches of structures of similar size: their cost grows with the pairs of atoms."""
    return Batches(
        examples.structures.n_atoms.square().numpy(),
        options.batch_size if shuffled else options.valid_batch_size,
        options.max_pairs,
        options.seed if shuffled else None,
        (fabric.global_rank, fabric.world_size),
    )


def _card(options: GeneratorOptions, row: Row, sets: GeneratorSets) -> dict[str, Any]:
    """Return what a user of the model file should know; `n_atoms` is what to draw sizes from."""
    structures = sets.train.structures
    errors = {key.removeprefix("valid_"): value for key, value in row.items() if "valid_" in key}
    return {
        "training_data": ", ".join(options.train_file),
        f"{sets.domain}s": len(sets.train),
        "epoch": int(row["epoch"]),
        "validation_errors": errors,
        "n_atoms": {str(size): count for size, count in atom_counts(structures).items()},
        "properties": {
            name: property_spread(structures.n_atoms, structures.system[name])
            for name in options.properties
        },
        "cell": options.cell,
    }
