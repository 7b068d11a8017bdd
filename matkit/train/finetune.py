"""Fine-tuning: start from a model, keep what it knew, learn what the data say."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from matkit.data.dataset import Dataset, has_label, read_dataset
from matkit.data.references import WAYS, fit_references, resolve_e0s
from matkit.derivatives import ForceField, force_field
from matkit.elements import format_species
from matkit.errors import TrainingError
from matkit.evaluator import predict
from matkit.interfaces import Potential
from matkit.models import cards, sources, zoo
from matkit.models.grow import extended
from matkit.nn.references import References, references_of
from matkit.structures import Structures
from matkit.train.network import freeze
from matkit.train.objective import LowRank
from matkit.train.options import FinetuneOptions
from matkit.train.run import run
from matkit.train.session import Listener
from matkit.train.sets import Sets
from matkit.train.start import TrainedPotential, TrainingStart

# eV. References that move by less belong to the same level: universal potentials are as uncertain.
MOVED = 0.05


def finetune(options: FinetuneOptions, listener: Listener | None = None) -> TrainedPotential:
    """Train a known potential further.

    Raises:
        UnknownNameError, CheckpointError: the model to start from cannot be loaded.
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
        ConfigError, TrainingError, CheckpointError: see `matkit.train`.
    """
    return run(options, listener, lambda sets: _from_base(options, sets))


def _from_base(options: FinetuneOptions, sets: Sets) -> TrainingStart:
    base = zoo.load(options.foundation_model, any_level=True)
    torch.manual_seed(options.seed)
    network = copy.deepcopy(base.network)
    new = sorted(set(sets.train.structures.species.tolist()) - set(network.species))
    parents: dict[int, int] = {}
    if new:
        network, parents = extended(network, new)
    before = _shifts(network)
    shift_energies(network, sets, options.E0s)
    moved = {z: value - before[z] for z, value in _shifts(network).items() if value != before[z]}
    network = network.to(getattr(torch, options.default_dtype))
    facts: dict[str, Any] = {
        "foundation_model": options.foundation_model,
        "new_elements": {format_species([z]): format_species([p]) for z, p in parents.items()},
        "E0_changes": {format_species([z]): value for z, value in moved.items()},
    }
    retained = replay = None
    if options.retain_file:
        dataset = read_dataset(options.retain_file, options.label_keys(), format=options.format)
        retained = _moved(dataset.without_isolated(), moved)
        if options.retain_limit and not bool(has_label(retained.structures, "forces").any()):
            raise TrainingError(
                f"retain_limit watches force errors, but {', '.join(options.retain_file)} has no "
                "forces. Name their key (forces_key) or leave retain_limit."
            )
    if options.replay_file:
        replay = _replayed(options, base, moved)
    freeze(network, options.freeze)
    low_rank = None
    if options.lora:
        trainable = {f"network.{n}": p for n, p in network.named_parameters() if p.requires_grad}
        low_rank = LowRank(trainable, options.lora_rank, options.lora_alpha)
    present = {z for one in (sets.train, replay) if one is not None for z in _elements(one)}
    origin = _origin(options, moved, present)
    return TrainingStart(network, sets, facts, low_rank, replay, retained, base, origin)


def _elements(dataset: Dataset) -> set[int]:
    return set(dataset.structures.species.unique().tolist())


def _origin(
    options: FinetuneOptions, moved: Mapping[int, float], present: set[int]
) -> dict[str, str]:
    """Return what the card of the result says of its base, and of the elements that it is good for.

    Where reference energies were moved, energies of other elements are still at the level of the
    base, unless these were replayed: then they do not fit together.
    """
    card = cards.model_card(options.foundation_model)
    said = {"fine_tuned_from": options.foundation_model}
    for key in ("licence", "citation"):
        text = getattr(card, key)
        if text != cards.NOT_STATED:
            said[key] = (
                text if text.startswith("of the base") else f"of the base, {card.name}: {text}"
            )
    before = sources.valid_elements({"valid_elements": card.valid_elements})
    if any(abs(value) > MOVED for value in moved.values()):
        said["valid_elements"] = format_species(present)
    elif before is not None:
        said["valid_elements"] = format_species(before | present)
    return said


def shift_energies(network: Potential, sets: Sets, spec: Any) -> None:
    """Move the network's reference energies so that it starts near the labels.

    Args:
        network: Network with reference energies.
        sets: Labelled structures.
        spec: `fit`: least squares of the errors of the network on the compositions;
            `foundation`: nothing is moved; `isolated` or a table: an isolated atom gets the
            energy that is given.

    Raises:
        TrainingError: the network has no reference energies.
    """
    way = WAYS.get(spec.lower(), spec) if isinstance(spec, str) else spec
    if way == "foundation":
        return
    references, index = _references(network), {z: i for i, z in enumerate(network.species)}
    model = force_field(network).eval()
    if way == "fit":
        energy = predict(model, sets.train.structures, ("energy",))["energy"]
        change = fit_references(sets.train, sets.train.structures.system["energy"] - energy).e0s
    else:
        given = dict(sets.isolated) if way == "isolated" else spec
        wanted = resolve_e0s(given, sets.train, None)
        change = {z: e - _alone(model, z) for z, e in wanted.items()}
    with torch.no_grad():
        for z, value in change.items():
            references.shift[index[z]] += value


def _references(network: Potential) -> References:
    references = references_of(network)
    if references is None:
        raise TrainingError(
            f"{type(network).__name__} has no reference energies that could be fitted; use "
            "E0s: foundation."
        )
    return references


def _shifts(network: Potential) -> dict[int, float]:
    return dict(zip(network.species, _references(network).shift.tolist(), strict=True))


def _alone(model: ForceField, z: int) -> float:
    atom = Structures(
        positions=torch.zeros(1, 3, dtype=torch.float64),
        species=torch.tensor([z]),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([1]),
    )
    return float(model(model.featurize(atom), ("energy",))["energy"])


def _moved(dataset: Dataset, changes: dict[int, float]) -> Dataset:
    """Return a set at the base's level of theory with energies on the new references."""
    structures = dataset.structures
    return _with_energies(dataset, structures.system["energy"] + _sum_of(structures, changes))


def _with_energies(dataset: Dataset, energy: torch.Tensor) -> Dataset:
    structures = dataset.structures
    return replace(
        dataset, structures=structures.replace(system={**structures.system, "energy": energy})
    )


def _sum_of(structures: Structures, changes: dict[int, float]) -> torch.Tensor:
    table = torch.zeros(120, dtype=torch.float64)
    for z, value in changes.items():
        table[z] = value
    sums = torch.zeros(len(structures), dtype=torch.float64)
    return sums.index_add(0, structures.batch, table[structures.species])


def _replayed(options: FinetuneOptions, base: ForceField, changes: dict[int, float]) -> Dataset:
    """Return structures labelled by the base model itself, on the new references."""
    read = read_dataset(options.replay_file, options.label_keys(), format=options.format)
    dataset = read.without_isolated()
    if len(dataset) > options.num_samples_pt:
        rng = np.random.default_rng(options.seed)
        chosen = rng.choice(len(dataset), options.num_samples_pt, replace=False)
        dataset = dataset.subset(sorted(chosen.tolist()))
    labels = predict(base, dataset.structures)
    energy = labels["energy"] + _sum_of(dataset.structures, changes)
    structures = dataset.structures.replace(
        system={"energy": energy, "stress": labels["stress"]}, atom={"forces": labels["forces"]}
    )
    return replace(dataset, structures=structures)
