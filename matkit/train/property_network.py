"""A new network of properties for a training set, on an untrained or a trained backbone."""

from __future__ import annotations

from typing import Any

import torch

from matkit.elements import format_species
from matkit.errors import ConfigError
from matkit.interfaces import Potential, PropertyModel
from matkit.models import building, checkpoint
from matkit.models.published import configurations
from matkit.models.sources import expand, read_potential
from matkit.train.property_options import PropertyOptions
from matkit.train.property_sets import PropertySets
from matkit.train.statistics import statistics

# The read-out of every backbone.
READOUT = "readout"


def new_property_network(
    options: PropertyOptions, sets: PropertySets
) -> tuple[PropertyModel, dict[str, Any]]:
    """Build a network for the targets of the sets, and what to log of it.

    Raises:
        ConfigError: there is no such model, or it does not see what the structures have.
        UnknownNameError, CheckpointError: the backbone cannot be loaded.
    """
    torch.manual_seed(options.seed)
    if options.backbone is None:
        described, species, trained = _untrained(options, sets)
    else:
        described, species, trained = _trained(options, sets)
    network = checkpoint.build(
        READOUT,
        {
            "species": species,
            "backbone": described,
            "targets": [list(target) for target in sets.targets],
            "pooling": options.pooling,
        },
    )
    assert isinstance(network, PropertyModel)
    if trained is not None:
        own = network.state_dict()
        state = {f"backbone.{name}": value for name, value in trained.state_dict().items()}
        network.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    _check_inputs(network, sets, options)
    network.begin_with(sets.train)
    facts = {
        "structures": len(sets.train),
        "elements": format_species(sets.train.species.unique().tolist()),
        "targets": [" ".join(map(str, target)).strip() for target in sets.targets],
        "spread_about_composition": network.units().tolist(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    return network.to(getattr(torch, options.default_dtype)), facts


def _untrained(
    options: PropertyOptions, sets: PropertySets
) -> tuple[dict[str, Any], list[int], None]:
    described = _architecture(options.model)
    species = sorted(sets.train.species.unique().tolist())
    cls = building.model_class(described["name"], Potential)
    measured = statistics(cls, described, sets.train)
    return {**measured, **described}, species, None


def _trained(
    options: PropertyOptions, sets: PropertySets
) -> tuple[dict[str, Any], list[int], Potential]:
    (source,) = expand(str(options.backbone)) or [""]
    backbone, _ = read_potential(source)
    backbone = getattr(backbone, "backbone", backbone)  # of a model with a head, what is below it
    backbone.check_species(sets.train)
    assert backbone.recipe is not None, "it was loaded"
    name, settings = backbone.recipe
    return {"name": name, **settings}, list(backbone.species), backbone


def _architecture(model: str | dict[str, Any]) -> dict[str, Any]:
    """Return `name` and hyper-parameters of an architecture or a published configuration.

    Raises:
        ConfigError: no name is given.
    """
    if isinstance(model, dict):
        if "name" not in model:
            raise ConfigError(f"Expected `name` of the architecture in `model`, got {model}.")
        return dict(model)
    known = configurations("potentials")
    return dict(known[model]["model"]) if model in known else {"name": model}


def _check_inputs(network: PropertyModel, sets: PropertySets, options: PropertyOptions) -> None:
    """Refuse structures that lack what the network or a target needs.

    Raises:
        ConfigError: the network sees positions that there are none of, bonds that are not known,
            or the dipole of a crystal is asked for.
    """
    if not options.conformers and "positions" in network.sees:
        raise ConfigError(
            "Without conformers there are no positions for this network to see. Take one for "
            "bonds, --model '{name: mpnn, distances: none}', or leave --no-conformers out."
        )
    if network.sees == {"bonds"} and sets.train.bonds is None:
        raise ConfigError(
            "This network sees bonds alone, and none are known of these structures. Give SMILES "
            "or SDF, or take `distances: raw`."
        )
    polar = [t.name for t in sets.targets if t.kind in ("dipole", "extent")]
    if polar and bool(sets.train.pbc.any()):
        raise ConfigError(
            f"The dipole or extent of a periodic structure is not defined: {', '.join(polar)}. "
            "Call it intensive if it means something else."
        )
