"""A new network for a training set: architecture from the options, statistics from the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
import yaml

from matkit.data.references import resolve_e0s
from matkit.elements import format_species
from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Potential
from matkit.models import building, checkpoint, zoo
from matkit.models.published import configurations
from matkit.nn.references import references_of
from matkit.train.options import TrainOptions
from matkit.train.sets import Sets
from matkit.train.statistics import force_scale, statistics

# MACE's names of options that architectures here call otherwise.
OVERRIDES = {
    "r_max": "cutoff",
    "max_L": "lmax",
    "num_channels": "num_channels",
    "num_interactions": "num_layers",
}


def new_network(options: TrainOptions, sets: Sets) -> tuple[Potential, dict[str, Any]]:
    """Build an untrained network whose constants fit the data.

    Species and what the architecture declares as its `statistics` are taken from the data unless
    the options give them; reference energies and the unit of energy (the root mean square of the
    forces) go into its `References`. With a backbone they are the backbone's. A backbone that is
    a model's name or file brings its own, with its weights.

    Returns:
        The network in the wanted precision, and what was found out, for the log.

    Raises:
        ConfigError: the architecture or a hyper-parameter is unknown, or reference energies are
            given to a trained backbone.
        UnknownNameError, CheckpointError: a trained backbone cannot be loaded.
    """
    name, chosen = architecture(options)
    torch.manual_seed(options.seed)
    if isinstance(chosen.get("backbone"), str):
        network, facts = _on_trained(name, chosen, options)
    else:
        network, facts = _untrained(name, chosen, options, sets)
    return network.to(getattr(torch, options.default_dtype)), facts


def _on_trained(
    name: str, chosen: dict[str, Any], options: TrainOptions
) -> tuple[Potential, dict[str, Any]]:
    """Build a network on a trained backbone, whose weights are taken over as they are."""
    source = chosen["backbone"]
    if options.E0s != "auto":
        raise ConfigError(
            f"The backbone {source} brings its reference energies; leave E0s, or fine-tune the "
            "backbone first (matkit finetune)."
        )
    loaded = zoo.load(source).network
    backbone = getattr(loaded, "backbone", loaded)  # of a model with a head, what is below it
    assert backbone.recipe is not None, "it was loaded"
    inner, settings = backbone.recipe
    described = chosen | {"backbone": {"name": inner, **settings}}
    network = checkpoint.build(name, {"species": list(backbone.species), **described})
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    missing, unexpected = network.load_state_dict(state, strict=False, assign=True)
    assert not unexpected
    assert not any(name.startswith("backbone.") for name in missing)
    elements = format_species(backbone.species)
    return network, {"architecture": name, "backbone": source, "elements": elements}


def _untrained(
    name: str, chosen: dict[str, Any], options: TrainOptions, sets: Sets
) -> tuple[Potential, dict[str, Any]]:
    inner = chosen.get("backbone", {"name": name, **chosen})
    if not isinstance(inner, Mapping):
        raise ConfigError(
            "Expected as `backbone` the name or file of a trained model, or `name` and "
            f"hyper-parameters of an architecture, got {inner!r}."
        )
    settings = {**chosen, **inner}
    cls = building.model_class(_name(inner), Potential)
    dataset = sets.train
    present = sorted(dataset.structures.species.unique().tolist())
    e0s = reference_energies(options.E0s, sets, present)
    species = list(settings.get("species") or present)
    measured = statistics(cls, settings, dataset.structures)
    network = checkpoint.build(name, {"species": species, **measured, **chosen})
    facts = {"architecture": name, "elements": format_species(species), **measured}
    if (references := references_of(network)) is not None:
        shift = [e0s.get(z, 0.0) for z in species]
        # Forces that a network predicts itself are not in units of its energies.
        scale = 1.0 if "forces" in network.provides else force_scale(dataset)
        references.set(scale=[scale] * len(species), shift=shift)
        facts |= {"shift": shift, "scale": references.scale.tolist(), "E0s": e0s}
    return network, facts


def reference_energies(
    spec: str | Mapping[Any, float], sets: Sets, species: list[int]
) -> dict[int, float]:
    """Return the reference energy of each species in eV.

    Args:
        spec: `isolated`, `fit`, a table, a JSON file, or `auto`: isolated atoms if every species
            has one, else a fit.
        sets: Structures to fit to, and energies of isolated atoms.
        species: Atomic numbers that need one.
    """
    if spec == "auto":
        spec = "isolated" if set(species) <= set(sets.isolated) else "fit"
    if spec in ("isolated", "IsolatedAtom"):
        spec = dict(sets.isolated)
    return resolve_e0s(spec, sets.train, None)


def architecture(options: TrainOptions) -> tuple[str, dict[str, Any]]:
    """Return the name of the architecture and the hyper-parameters that were chosen.

    Raises:
        ConfigError: there is no such architecture or configuration, or it lacks an option.
    """
    model = _published(options.model) if isinstance(options.model, str) else dict(options.model)
    name = _name(model)
    del model["name"]
    known = inspect.signature(building.model_class(name, Potential).__init__).parameters
    for option, parameter in OVERRIDES.items():
        value = getattr(options, option)
        if value is None:
            continue
        if parameter not in known:
            raise ConfigError(
                f"Architecture {name!r} does not take {option}; give its own hyper-parameters "
                f"under `model` in a configuration file: {', '.join(list(known)[1:])}."
            )
        model[parameter] = value
    return name, model


def _name(model: Mapping[str, Any]) -> str:
    """Return the name of the architecture that settings are for."""
    if "name" not in model:
        raise ConfigError(f"Expected `name` of the architecture in `model`, got {sorted(model)}.")
    return str(model["name"])


def freeze(network: Potential, patterns: Sequence[str]) -> None:
    """Take parameters whose name fits a pattern, such as ``interactions.0.*``, out of training.

    Raises:
        ConfigError: a pattern fits no parameter.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        chosen = [n for n in parameters if fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")]
        if not chosen:
            blocks = sorted({".".join(name.split(".")[:2]) for name in parameters})
            raise ConfigError(
                f"No parameter fits the pattern {pattern!r} of freeze. Blocks: {', '.join(blocks)}."
            )
        for name in chosen:
            parameters[name].requires_grad_(False)


def _published(name: str) -> dict[str, Any]:
    configs = configurations()
    if name in configs:
        return dict(configs[name]["model"])
    if name in building.model_names(Potential):
        return {"name": name}
    names = [*configs, *building.model_names(Potential)]
    raise ConfigError(f"Unknown model {name!r}.{did_you_mean(name, names)}")


def describe(facts: Mapping[str, Any]) -> str:
    """Return what was found out, as YAML."""
    return yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True)
