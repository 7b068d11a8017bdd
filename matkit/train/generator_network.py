"""The generator to train: a new one, with statistics of the data, or a trained one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Generator
from matkit.models import building, checkpoint, sources
from matkit.models.grow import begin_as, enlarged
from matkit.models.published import configurations
from matkit.models.shipped import find_generator
from matkit.nn.property_embedding import PropertyEmbedding
from matkit.structures import Structures
from matkit.train.generator_options import GeneratorOptions


def new_generator(
    options: GeneratorOptions, structures: Structures
) -> tuple[Generator, dict[str, Any]]:
    """Build an untrained generator whose constants fit the data.

    Species, the size of the largest crystal, mean and standard deviation of the properties, and
    what the architecture itself asks for are taken from the data unless the options give them.

    Args:
        options: Options.
        structures: Structures to learn from, with their properties.

    Returns:
        The generator in the wanted precision, and what was found out, for the log.

    Raises:
        ConfigError: the architecture, a hyper-parameter or a part is unknown, a property is
            constant, or a part has nothing in common with what it is to begin as.
        StructureError, UnknownElementError: the hyper-parameters exclude some of the structures.
    """
    name, chosen = generator_architecture(options)
    cls = building.model_class(name, Generator)
    found = _taken(cls, options, structures) | cls.constants(structures)
    torch.manual_seed(options.seed)
    generator = checkpoint.build(name, found | chosen, Generator)
    generator.check_structures(structures)
    taken = {part: _take(generator, part, source) for part, source in options.parts.items()}
    facts = {
        "architecture": name,
        **({"tensors_taken": taken} if taken else {}),
        f"{cls.domain}s": len(structures),
        "elements": format_species(generator.species),
        "n_atoms": atom_counts(structures),
    }
    if cls.domain == "crystal":
        facts["volume_per_atom"] = float((structures.volume / structures.n_atoms).mean())
    facts |= found
    return generator.to(getattr(torch, options.default_dtype)), facts


def known_generator(
    path: Path, options: GeneratorOptions, structures: Structures
) -> tuple[Generator, dict[str, Any]]:
    """Return a trained generator to train further, and what was found out, for the log.

    It gets the hyper-parameters and the properties that the options give besides; until it has
    learnt, it makes the same with them as without.

    Args:
        path: Model file.
        options: Options.
        structures: Structures to learn from, with their properties.

    Raises:
        CheckpointError: the file cannot be read.
        ConfigError: it can be told other properties already, a hyper-parameter does not fit, or
            parts are to begin as others.
        StructureError, UnknownElementError: it cannot learn from some of the structures.
    """
    if options.parts:
        raise ConfigError(
            f"Expected no `parts` beside {path}: only those of a new network are taken."
        )
    generator, _ = checkpoint.load(path, Generator)
    assert generator.recipe is not None  # as of all that is in a file
    said = {} if isinstance(options.model, str) else dict(options.model)
    said.pop("name", None)
    changes = {key: value for key, value in said.items() if generator.recipe[1].get(key) != value}
    if options.generates_species and not generator.generates_species:
        changes["generates_species"] = True
    if not generator.properties and options.properties:
        changes["properties"] = {key: _scale(key, structures) for key in options.properties}
    elif set(generator.properties) != set(options.properties):
        raise ConfigError(
            f"{path} was trained with the properties {', '.join(generator.properties)}; ask for "
            "the same ones (--properties), as its weights know no others."
        )
    if changes:
        generator = enlarged(generator, changes, Generator)
    if "properties" in changes:
        for module in generator.modules():
            if isinstance(module, PropertyEmbedding):
                module.mute()
    generator.check_structures(structures)
    facts = {
        "begun_with": str(path),
        "added": sorted(changes.keys() & {"properties", "generates_species"}),
        f"{generator.domain}s": len(structures),
        "n_atoms": atom_counts(structures),
    }
    return generator.to(getattr(torch, options.default_dtype)), facts


def _take(generator: Generator, part: str, source: str) -> int:
    """Let a part begin as `MODEL/PART` of a trained generator; return how many tensors it took."""
    model, slash, name = source.rpartition("/")
    if not slash:
        raise ConfigError(
            f"Expected parts of generators as MODEL/PART, such as crystalflow-mp20/network, got "
            f"{source!r}."
        )
    other, _ = checkpoint.load(find_generator(model), Generator)
    pair = _part(generator, part, "the new generator"), _part(other, name, model)
    return begin_as(*pair, species=generator.species == other.species)


def _part(generator: Generator, name: str, of: str) -> nn.Module:
    parts = dict(generator.named_children())
    if name not in parts:
        raise ConfigError(f"Expected a part of {of}: {', '.join(parts)}; got {name!r}.")
    return parts[name]


def trained_file(options: GeneratorOptions) -> Path | None:
    """Return the file of the trained generator that the options name; None for an architecture."""
    name = options.model if isinstance(options.model, str) else options.model.get("name")
    return find_generator(name) if isinstance(name, str) and sources.is_generator(name) else None


def generator_architecture(options: GeneratorOptions) -> tuple[str, dict[str, Any]]:
    """Return the name of the architecture and the hyper-parameters that were chosen.

    Raises:
        ConfigError: there is no such architecture or configuration, or it cannot be told
            properties.
    """
    if path := trained_file(options):
        recipe = checkpoint.load(path, Generator)[0].recipe
        assert recipe is not None  # as of all that is in a file
        model = {"name": recipe[0], **recipe[1]}
    else:
        model = _published(options.model) if isinstance(options.model, str) else dict(options.model)
    if "name" not in model:
        raise ConfigError(f"Expected `name` of the architecture in `model`, got {sorted(model)}.")
    name = model.pop("name")
    known = inspect.signature(building.model_class(name, Generator)).parameters
    if options.properties and "properties" not in known:
        raise ConfigError(f"Architecture {name!r} cannot be told properties; leave them out.")
    if options.generates_species and "generates_species" not in known:
        raise ConfigError(
            f"Architecture {name!r} has no choice whether species are generated; leave "
            "generates_species out."
        )
    return name, model


def _taken(
    cls: type[Generator], options: GeneratorOptions, structures: Structures
) -> dict[str, Any]:
    """Return what the training set says, as far as the constructor takes it."""
    found: dict[str, Any] = {
        "species": sorted(structures.species.unique().tolist()),
        "max_atoms": int(structures.n_atoms.max()),
        "generates_species": options.generates_species,
    }
    if options.properties:
        found["properties"] = {key: _scale(key, structures) for key in options.properties}
    known = inspect.signature(cls).parameters
    return {key: value for key, value in found.items() if key in known}


def is_generator(model: Any) -> bool:
    """Return whether the option `model` names a generator, by name or with hyper-parameters."""
    name = model.get("name") if isinstance(model, dict) else model
    known = {*building.model_names(Generator), *configurations("generative")}
    return name in known or (isinstance(name, str) and sources.is_generator(name))


def atom_counts(structures: Structures) -> dict[int, int]:
    """Return how many structures there are by their number of atoms."""
    sizes, counts = structures.n_atoms.unique(return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


def property_spread(
    n_atoms: Int[Tensor, " B"], values: Float[Tensor, " B"]
) -> dict[str, float | dict[str, list[float]]]:
    """Return `min` and `max` of a property, and its spread `by_n_atoms`.

    The latter are mean and standard deviation over the structures of each size. One more structure
    is thought of, off by the deviation of all, so that a single one does not say that all others of
    its size have the same value; where none has a value, the size says nothing.
    """
    known = values.isfinite()
    of, values = n_atoms[known], values[known].double()
    spread = {}
    for size in n_atoms.unique().tolist():
        own = values[of == size]
        mean = own.mean() if len(own) else values.mean()
        squares = (own - mean).square().sum() + values.var(correction=0)
        spread[str(size)] = [float(mean), float((squares / (len(own) + 1)).sqrt())]
    return {"min": float(values.min()), "max": float(values.max()), "by_n_atoms": spread}


def _published(name: str) -> dict[str, Any]:
    """Return the architecture; a configuration's largest size is that of its own data."""
    configs = configurations("generative")
    if name in configs:
        return {k: v for k, v in configs[name]["model"].items() if k != "max_atoms"}
    if name in building.model_names(Generator):
        return {"name": name}
    names = [*configs, *building.model_names(Generator)]
    raise ConfigError(f"Unknown generator {name!r}.{did_you_mean(name, names)}")


def _scale(name: str, structures: Structures) -> list[float]:
    """Return mean and standard deviation of a property over the structures that have it."""
    values = structures.system[name]
    known = values[values.isfinite()]
    mean, spread = float(known.mean()), float(known.std(correction=0))
    if not spread > 1e-12 * abs(mean):
        raise ConfigError(
            f"The property {name} is {mean:g} for all structures; there is nothing to ask for. "
            "Leave it out of properties."
        )
    return [mean, spread]
