"""The generator that is asked for: one, several that take turns, or one without weights."""

from __future__ import annotations

from typing import Any, Final

from matkit.errors import ConfigError, UnknownNameError, did_you_mean
from matkit.generate.coordinates import Completed, with_coordinates
from matkit.generate.domains import room_of
from matkit.generate.mixture import GeneratorMixture
from matkit.generate.options import GenerateOptions
from matkit.interfaces import Generator
from matkit.interfaces.generator import Domain
from matkit.models.shipped import shipped
from matkit.models.zoo import load_generator

# All that fit what is asked for, in the place of a name.
ALL: Final = "all"


def model_names(options: GenerateOptions, domain: Domain) -> str | None:
    """Return the models of a request, with commas between them.

    Args:
        options: What is asked for, of the domain if they name no model.
        domain: What is made.

    Returns:
        None for the preferred one: where none is named, and what is asked for has no usual ones
        or these did not come with matkit.
    """
    if options.model not in (None, ALL):
        return options.model
    room = room_of(domain)
    if options.model == ALL:
        return ",".join(room.general(options))
    names = room.usual(options)
    are_here = {*room.WEIGHTLESS, *shipped()}.issuperset(names)
    return ",".join(names) or None if are_here else None


def generator_of(
    model: str | None, coordinates: str | None, device: str, domain: Domain
) -> tuple[Generator, dict[str, Any]]:
    """Return a generator that is ready to draw, and what is known of it.

    Args:
        model: Name or file of a model; several with commas, which take turns; None for the
            preferred one.
        coordinates: Model that finds coordinates where one makes none. Of several models, the first
            that can does if none is named.
        device: Where they run.
        domain: What is made if no model says it.

    Raises:
        ConfigError: the models make different things, or one has no use for `coordinates`.
        UnknownNameError, MissingExtraError, CheckpointError: a model cannot be had.
    """
    names = [name.strip() for name in (model or "").split(",")]
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected each model once, got {model}.")
    found = [_one(name, device, domain) for name in names]
    if len(found) == 1:
        generator, card = found[0]
        return with_coordinates(generator, coordinates, device), card
    parts = {card["name"]: generator for generator, card in found}
    for name, part in parts.items():
        if part.outputs == "blueprint":
            parts[name] = _completed(part, parts, coordinates, device)
    sizes: dict[str, int] = next((c["n_atoms"] for _, c in found if "n_atoms" in c), {})
    cards = {card["name"]: card for _, card in found}
    return GeneratorMixture(parts), {"name": ", ".join(parts), "n_atoms": sizes, "models": cards}


def _completed(
    planner: Generator, parts: dict[str, Generator], coordinates: str | None, device: str
) -> Generator:
    """Return a generator of blueprints with one that finds coordinates for it."""
    if coordinates is not None:
        return with_coordinates(planner, coordinates, device)
    finders = (part for part in parts.values() if {"species", "position"} <= part.inputs)
    finder = next((part for part in finders if part.outputs == "structures"), None)
    return planner if finder is None else Completed(planner, finder)


def _one(name: str, device: str, domain: Domain) -> tuple[Generator, dict[str, Any]]:
    weightless = room_of(domain).WEIGHTLESS
    if name in weightless:
        return weightless[name]()
    try:
        return load_generator(name or None, device, domain)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{did_you_mean(name, [*weightless, ALL])}") from error
