"""Train a network of properties: from files with columns of values to a model file and a log."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.elements import format_species
from matkit.graph import Graph
from matkit.interfaces import PropertyModel
from matkit.interfaces.property_model import Target, columns_of
from matkit.models import checkpoint
from matkit.properties.checks import remarks_on_charges
from matkit.properties.uncertainty import fit_uncertainty
from matkit.structures import Structures
from matkit.train.batching import Batches, GraphSet, loader
from matkit.train.network import freeze
from matkit.train.objective import Average, Objective, TrainingStep
from matkit.train.optimizers import optimizers
from matkit.train.progress import Row
from matkit.train.property_network import new_property_network
from matkit.train.property_options import PropertyOptions
from matkit.train.property_report import compared_with_composition
from matkit.train.property_sets import PropertySets, read_property_sets
from matkit.train.session import Listener, TrainingResult, carry_out, open_session

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from matkit.train.loop import Trainer


class PropertyObjective(Objective):
    """Mean absolute error of the targets in units of their spread about the composition's.

    Args:
        model: Network.
    """

    def __init__(self, model: PropertyModel) -> None:
        super().__init__()
        self.model: PropertyModel = model
        self.names = [target.name for target in model.targets]

    def forward(self, batch: Graph) -> TrainingStep:
        """Return the loss of a batch; what is missing does not count."""
        wrong, known = absolute_errors(self.model, batch)
        scaled = (wrong / self.model.units()).split([t.width for t in self.model.targets], dim=1)
        there = known.split([t.width for t in self.model.targets], dim=1)
        pairs = zip(scaled, there, strict=True)
        means = [part.sum() / one.sum().clamp(min=1) for part, one in pairs]
        return TrainingStep(
            torch.stack(means).mean(),
            {name: mean.detach() for name, mean in zip(self.names, means, strict=True)},
            {name: part.detach().sum(1) for name, part in zip(self.names, scaled, strict=True)},
        )

    def edges(self, batch: Graph) -> int:
        """Return how many edges a batch has."""
        return len(batch.center)

    def may_rest(self, name: str) -> bool:
        """What a backbone has for other purposes gets no gradient."""
        return "backbone." in name

    @torch.no_grad()
    def validate(
        self, model: PropertyModel, batches: Iterable[Graph], fabric: Fabric
    ) -> dict[str, float]:
        """Return the loss, and the mean absolute error of every target in its unit."""
        total = torch.zeros(2, len(model.units()), dtype=torch.float64)
        for batch in batches:
            wrong, known = absolute_errors(model, batch.to(fabric.device))
            total += torch.stack([wrong.sum(0), known.double().sum(0)]).cpu()
        sums, counts = torch.as_tensor(fabric.all_reduce(total, reduce_op="sum"))
        return errors_by_target(sums / counts, model)


def errors_by_target(columns: Float[Tensor, " W"], model: PropertyModel) -> dict[str, float]:
    """Return loss and errors of every target from the mean absolute errors of the columns."""
    scaled, found = [], {}
    for target, which in zip(model.targets, columns_of(model.targets), strict=True):
        scaled.append(float((columns[which] / model.units().cpu()[which]).mean()))
        found[f"mae_{target.name}"] = float(columns[which].mean())
    return {"loss": sum(scaled) / len(scaled), **found}


def absolute_errors(
    model: PropertyModel, batch: Graph
) -> tuple[Float[Tensor, "B W"], Float[Tensor, "B W"]]:
    """Return absolute errors, zero where nothing is known, and whether something is."""
    wanted = batch.system["targets"]
    known = wanted.isfinite()
    wrong = model(batch)["targets"] - wanted.nan_to_num()
    return wrong.abs() * known, known.to(wrong)


def train_property(options: PropertyOptions, listener: Listener | None = None) -> TrainingResult:
    """Train a network that predicts properties of structures.

    Raises:
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, DataError, TrainingError, CheckpointError: see `matkit.train`.
    """
    with open_session(options, listener) as session:
        sets = read_property_sets(options)
        for note in sets.notes:
            session.listener.note(note)
        network, facts = new_property_network(options, sets)
        freeze(network, options.freeze)
        for note in remarks_on_charges(sets.train, network.conditions):
            session.listener.note(note)
        trainer = _trainer(session.fabric, options, sets, network)
        card = _card(options, sets, network)

        def keep(row: Row) -> None:
            errors = {key.removeprefix("valid_"): v for key, v in row.items() if "valid_" in key}
            done = {"epoch": int(row["epoch"]), "validation_errors": errors}
            checkpoint.save(trainer.average.model, session.model, {**card, **done})

        outcome = carry_out(session, trainer, facts, keep)
        if options.dry_run or outcome.model is None or not session.fabric.is_global_zero:
            return outcome
        rows, lines = _completed(outcome.model, sets)
        which = "test" if sets.test is not None else "validation"
        session.listener.note("\n".join([f"Mean absolute errors, {which} set:", *lines]))
        metrics: dict[str, Any] = {"targets": rows}
        if options.report:
            from matkit.train.generator_report import report  # with matplotlib

            metrics |= report(outcome, options, facts | {f"errors_of_the_{which}_set": lines})
        return replace(outcome, metrics=metrics)


def _completed(file: Path, sets: PropertySets) -> tuple[list[dict[str, Any]], list[str]]:
    """Write uncertainties and last errors into a model file; return the errors, and as text."""
    model, metadata = checkpoint.load(file)
    assert isinstance(model, PropertyModel)
    fit_uncertainty(model, _seen(sets.train, model), _seen(sets.valid, model))
    last = sets.valid if sets.test is None else sets.test
    rows, lines = compared_with_composition(model, _seen(last, model))
    name = "validation_targets" if sets.test is None else "test_targets"
    checkpoint.save(model, file, metadata["card"] | {name: rows})
    return rows, lines


def _seen(structures: Structures, network: PropertyModel) -> Structures:
    """Return structures without bonds if a network does not look at them."""
    if "bonds" in network.sees:
        return structures
    return structures.replace(bonds=None, bond={})


def _trainer(
    fabric: Fabric, options: PropertyOptions, sets: PropertySets, network: PropertyModel
) -> Trainer:
    from matkit.train.loop import Batched, Trainer

    composition = {"loss": _baseline_loss(network, sets.valid)}
    network = network.to(fabric.device)
    average = Average(copy.deepcopy(network), options.ema_decay if options.ema else 0.0)
    objective = PropertyObjective(network.train())
    train = GraphSet(network, _seen(sets.train, network))
    valid = train if not sets.validated else GraphSet(network, _seen(sets.valid, network))
    ranks = fabric.global_rank, fabric.world_size
    order = Batches(train.n_edges, options.batch_size, None, options.seed, ranks)
    checks = Batches(valid.n_edges, options.valid_batch_size, None, None, ranks)
    batched = Batched(
        train=loader(train, order, options.num_workers),
        order=order,
        valid=loader(valid, checks, options.num_workers),
        retained=None,
        sources=sets.sources,
        mean=composition,
    )
    learnt = optimizers(objective.parameters(), options)
    return Trainer(fabric, objective, average, batched, learnt, options)


def _baseline_loss(network: PropertyModel, valid: Structures) -> float:
    """Return the loss of what the composition alone says."""
    values = valid.system["targets"]
    wrong = (network.baseline(valid) - values).abs()
    known = values.isfinite()
    means = wrong.nan_to_num().sum(0) / known.sum(0)
    return errors_by_target(means, network)["loss"]


def _card(options: PropertyOptions, sets: PropertySets, network: PropertyModel) -> dict[str, Any]:
    """Return what a user of the model file should know, and predictions are judged by."""
    structures = sets.train
    return {
        "training_data": ", ".join(options.train_file),
        "structures": len(structures),
        "elements_seen": format_species(structures.species.unique().tolist()),
        "n_atoms": [int(structures.n_atoms.min()), int(structures.n_atoms.max())],
        "conformers": options.conformers,
        "bonds": "bonds" in network.sees and structures.bonds is not None,
        "targets": [
            _described(target, structures.system["targets"][:, columns])
            for target, columns in zip(sets.targets, columns_of(sets.targets), strict=True)
        ],
    }


def _described(target: Target, values: Tensor) -> dict[str, Any]:
    known = values[values.isfinite().all(1)]
    return {**target._asdict(), "min": float(known.min()), "max": float(known.max())}
