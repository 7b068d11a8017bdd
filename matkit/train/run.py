"""Train a potential: from files to a model file, a log and a report in one folder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from matkit.data.ase import to_ase
from matkit.data.dataset import Dataset, ignored_in
from matkit.derivatives import force_field
from matkit.elements import format_species
from matkit.graph import Graph
from matkit.models import checkpoint
from matkit.simulate.plausibility import closest_contacts
from matkit.structures import Structures, cat
from matkit.train.batching import Batches, GraphSet, loader, weighted
from matkit.train.hessian_sets import check_head
from matkit.train.hessian_targets import of_one_width
from matkit.train.losses import check_terms
from matkit.train.network import freeze, new_network
from matkit.train.objective import Average, PotentialObjective
from matkit.train.optimizers import optimizers
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.outcome import errors_of_the_mean
from matkit.train.progress import Row
from matkit.train.session import Listener, Session, carry_out, open_session
from matkit.train.sets import Sets, read_sets
from matkit.train.start import TrainedPotential, TrainingStart

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch.utils.data import DataLoader

    from matkit.train.loop import Batched, Trainer

AnyOptions = TrainOptions | FinetuneOptions


def train(options: TrainOptions, listener: Listener | None = None) -> TrainedPotential:
    """Train a new potential.

    Raises:
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, TrainingError, CheckpointError: see `matkit.train`.
    """
    return run(options, listener, lambda sets: _from_scratch(options, sets))


def run(
    options: AnyOptions, listener: Listener | None, begin: Callable[[Sets], TrainingStart]
) -> TrainedPotential:
    """Train what `begin` makes of the sets."""
    with open_session(options, listener) as session:
        sets = read_sets(options)
        for note in sets.notes:
            session.listener.note(note)
        start = begin(sets)
        check_head(start.network, options)
        used = (sets.train, sets.valid, sets.test, start.replay, start.retained)
        for dataset in (part for part in used if part is not None):
            for text in ignored_in(dataset, start.network.conditions, options.ignore_charge):
                session.listener.note(text)
        trainer = _trainer(session.fabric, options, start)
        domain = {"closest": closest_contacts(to_ase(sets.train.structures))}

        def keep(row: Row) -> None:
            network = trainer.average.model.network
            network.recipe = start.network.recipe
            card = _card(options, row, start) | {"domain": domain}
            checkpoint.save(network, session.model, card)

        done = carry_out(session, trainer, start.facts, keep)
        return _with_report(TrainedPotential(**vars(done), start=start), options, session)


def _with_report(
    outcome: TrainedPotential, options: AnyOptions, session: Session
) -> TrainedPotential:
    if not (options.report and outcome.model and session.fabric.is_global_zero):
        return outcome
    from matkit.train.reporting import report

    metrics = report(outcome, options, session.fabric.device, session.listener.note)
    return replace(outcome, metrics=metrics)


def _from_scratch(options: TrainOptions, sets: Sets) -> TrainingStart:
    network, facts = new_network(options, sets)
    freeze(network, options.freeze)
    present, origin = set(sets.train.structures.species.unique().tolist()), {}
    if "backbone" not in facts and set(network.species) - present:  # what nothing was learnt of
        origin = {"valid_elements": format_species(present)}
    return TrainingStart(network, sets, facts, origin=origin)


def _trainer(fabric: Fabric, options: AnyOptions, start: TrainingStart) -> Trainer:
    from matkit.train.loop import Trainer

    device = fabric.device
    model = force_field(start.network).to(device)
    low_rank = start.low_rank.to(device) if start.low_rank is not None else None
    averaged = copy.deepcopy(model)
    averaged.analytic = False  # its weights change before preparing them could pay off
    average = Average(averaged, options.ema_decay if options.ema else 0.0)
    objective = PotentialObjective(model.train(), options, low_rank)
    return Trainer(
        fabric,
        objective,
        average,
        _batched(fabric, options, start),
        optimizers(objective.parameters(), options),
        options,
    )


def _batched(fabric: Fabric, options: AnyOptions, start: TrainingStart) -> Batched:
    from matkit.train.loop import Batched

    processes = (fabric.global_rank, fabric.world_size)
    graphs = GraphSet(start.network, _to_learn(options, start))
    size, most = options.batch_size, options.max_edges
    order = Batches(graphs.n_edges, size, most, options.seed, processes, graphs.pairs)

    def in_order(dataset: Dataset) -> DataLoader[Graph]:
        part = GraphSet(start.network, weighted(dataset, {}))
        size = options.valid_batch_size
        return loader(part, Batches(part.n_edges, size, None, None, processes, part.pairs))

    return Batched(
        train=loader(graphs, order, options.num_workers),
        order=order,
        valid=in_order(start.sets.valid),
        retained=in_order(start.retained) if start.retained is not None else None,
        sources=(*start.sets.train.sources, *(start.replay.sources if start.replay else ())),
        mean=errors_of_the_mean(start.sets.valid),
    )


def _to_learn(options: AnyOptions, start: TrainingStart) -> Structures:
    """Return the training set, with what is replayed behind it."""
    train = weighted(start.sets.train, options.config_type_weights)
    check_terms(train, options)
    if start.replay is None or not isinstance(options, FinetuneOptions):
        return train
    replay = weighted(start.replay, {}, options.replay_weight, len(train))
    parts = of_one_width([train, replay])
    common = sorted(set.intersection(*(set(part.system) for part in parts)))
    return cat([part.replace(system={key: part.system[key] for key in common}) for part in parts])


def _card(options: AnyOptions, row: Row, start: TrainingStart) -> dict[str, Any]:
    """Return what a user of the model file should know."""
    errors = {key.removeprefix("valid_"): value for key, value in row.items() if "valid_" in key}
    return {
        "training_data": ", ".join(options.train_file),
        "structures": len(start.sets.train),
        "epoch": int(row["epoch"]),
        "validation_errors" if start.sets.validated else "training_errors": errors,
        "labels": f"errors in eV per atom, eV/Å, eV/Å³, eV/Å²; loss {options.loss}",
        "elements_seen": format_species(start.sets.train.structures.species.unique().tolist()),
        **({"level": options.level} if options.level else {}),
        **start.origin,
    }
