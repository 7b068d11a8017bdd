"""Train a network of Kohn-Sham matrices: from folders of labels to a model file and a log."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from matkit.elements import format_species
from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import HamiltonianModel, Potential
from matkit.models import building, checkpoint
from matkit.models.published import configurations
from matkit.train.batching import Batches, GraphSet, loader
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.hamiltonian_sets import HamiltonianSets, read_hamiltonian_sets
from matkit.train.objective import Average, Objective, TrainingStep
from matkit.train.optimizers import optimizers
from matkit.train.progress import Row
from matkit.train.session import Listener, TrainingResult, carry_out, open_session

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from matkit.train.loop import Trainer


class HamiltonianObjective(Objective):
    """Mean absolute error of the matrices' entries plus their mean squared error, in eV.

    Args:
        model: Network.
    """

    def __init__(self, model: Potential) -> None:
        super().__init__()
        self.model: Potential = model

    def forward(self, batch: Graph) -> TrainingStep:
        """Return the loss of a batch."""
        wrong, count = entry_errors(self.model, batch)
        absolute, squares = wrong.abs().sum((1, 2)), wrong.square().sum((1, 2))
        terms = {
            "hamiltonian": _by_structure(absolute, batch) / count,
            "squares": _by_structure(squares, batch) / count,
        }
        means = {name: term.mean() for name, term in terms.items()}
        return TrainingStep(
            torch.stack(list(means.values())).sum(),
            {name: mean.detach() for name, mean in means.items()},
            {name: term.detach() for name, term in terms.items()},
        )

    def may_rest(self, name: str) -> bool:
        """Blocks of two shells with d orbitals, say, need two atoms with such in one molecule."""
        return "pairs." in name or "pair_blocks." in name

    @torch.no_grad()
    def validate(
        self, model: Potential, batches: Iterable[Graph], fabric: Fabric
    ) -> dict[str, float]:
        """Return the mean absolute error of all entries, as loss in eV and in microhartree."""
        total = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            wrong, count = entry_errors(model, batch.to(fabric.device))
            total += torch.stack([wrong.abs().sum(), count.sum()]).cpu()
        errors, entries = torch.as_tensor(fabric.all_reduce(total, reduce_op="sum")).tolist()
        return {"loss": errors / entries, "hamiltonian_mae": 1e6 * errors / entries / Hartree}


def train_hamiltonian(
    options: HamiltonianOptions, listener: Listener | None = None
) -> TrainingResult:
    """Train a network that predicts Kohn-Sham matrices.

    Raises:
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, DataError, TrainingError, CheckpointError: see `matkit.train`.
    """
    with open_session(options, listener) as session:
        sets = read_hamiltonian_sets(options)
        network, facts = _new_network(options, sets)
        trainer = _trainer(session.fabric, options, sets, network)

        def keep(row: Row) -> None:
            errors = {key.removeprefix("valid_"): v for key, v in row.items() if "valid_" in key}
            card = {
                "training_data": ", ".join(options.train_file),
                "level": sets.level,
                "molecules": len(sets.train),
                "epoch": int(row["epoch"]),
                "validation_errors": errors,
            }
            checkpoint.save(trainer.average.model, session.model, card)

        outcome = carry_out(session, trainer, facts, keep)
        if options.dry_run or not (options.report and session.fabric.is_global_zero):
            return outcome
        from matkit.train.generator_report import report  # with matplotlib

        return replace(outcome, metrics=report(outcome, options, facts))


def predicts_hamiltonians(model: Any) -> bool:
    """Return whether the option `model` names a network of Kohn-Sham matrices."""
    name = _described(model).get("name")
    if name not in building.model_names(Potential):
        return False
    return issubclass(building.model_class(name, Potential), HamiltonianModel)


def _described(model: Any) -> dict[str, Any]:
    """Return `name` and hyper-parameters of an architecture or a published configuration."""
    if isinstance(model, dict):
        return dict(model)
    known = configurations("potentials")
    return dict(known[model]["model"]) if model in known else {"name": model}


def _new_network(
    options: HamiltonianOptions, sets: HamiltonianSets
) -> tuple[HamiltonianModel, dict[str, Any]]:
    """Build an untrained network for the orbitals of the sets, and what to log of it."""
    if not predicts_hamiltonians(options.model):
        raise ConfigError(f"{options.model} predicts no Kohn-Sham matrices. Take model qhnet.")
    model = _described(options.model)
    shells = {int(z): list(degrees) for z, degrees in sets.shells.items()}
    torch.manual_seed(options.seed)
    network = checkpoint.build(
        model.pop("name"), {"species": sorted(shells), "shells": shells, **model}
    )
    assert isinstance(network, HamiltonianModel), "checked above"
    network.begin_with(sets.train)
    facts = {
        "level": sets.level,
        "molecules": len(sets.train),
        "elements": format_species(shells),
        "orbitals": {format_species([z]): degrees for z, degrees in shells.items()},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    return network.to(getattr(torch, options.default_dtype)), facts


def _trainer(
    fabric: Fabric, options: HamiltonianOptions, sets: HamiltonianSets, network: Potential
) -> Trainer:
    from matkit.train.loop import Batched, Trainer

    network = network.to(fabric.device)
    average = Average(copy.deepcopy(network), options.ema_decay if options.ema else 0.0)
    objective = HamiltonianObjective(network.train())
    train, valid = GraphSet(network, sets.train), GraphSet(network, sets.valid)
    ranks = fabric.global_rank, fabric.world_size
    order = Batches(train.n_edges, options.batch_size, None, options.seed, ranks)
    checks = Batches(valid.n_edges, options.valid_batch_size, None, None, ranks)
    batched = Batched(
        train=loader(train, order, options.num_workers),
        order=order,
        valid=loader(valid, checks, options.num_workers),
        retained=None,
        sources=tuple(f"molecule {i}" for i in range(len(train))),
    )
    learnt = optimizers(objective.parameters(), options)
    return Trainer(fabric, objective, average, batched, learnt, options)


def entry_errors(
    model: Potential, batch: Graph
) -> tuple[Float[Tensor, "N w W"], Float[Tensor, " B"]]:
    """Return predicted minus true entries, laid out as the labels, and how many each molecule has.

    Args:
        model: Network.
        batch: Graphs with the field of `matkit.train.hamiltonian_sets`.
    """
    labels = batch.atom["hamiltonian"]
    blocks = model(batch)["hamiltonian"]
    matrices = blocks.dense()
    rows = torch.cat([pad(matrix, (0, labels.shape[2] - len(matrix))) for matrix in matrices])
    inside = torch.arange(labels.shape[1], device=labels.device) < blocks.widths.unsqueeze(1)
    counts = rows.new_tensor([matrix.numel() for matrix in matrices])
    wrong = torch.zeros_like(labels).masked_scatter(inside.unsqueeze(2), rows - labels[inside])
    return wrong, counts


def _by_structure(values: Float[Tensor, " N"], batch: Graph) -> Float[Tensor, " B"]:
    return values.new_zeros(len(batch)).index_add(0, batch.batch, values)
