"""The generator that is asked for: one, several that take turns, or one without weights."""

from __future__ import annotations

from typing import Any, Final

from matkit.errors import ConfigError, UnknownNameError, did_you_mean
from matkit.generate.coordinates import with_coordinates
from matkit.generate.domains import room_of
from matkit.generate.mixture import GeneratorMixture
from matkit.interfaces import Generator
from matkit.interfaces.generator import Domain
from matkit.models.zoo import load_generator

# All that a domain has for the general case, in the place of a name.
ALL: Final = "all"


def generator_of(
    model: str | None, coordinates: str | None, device: str, domain: Domain
) -> tuple[Generator, dict[str, Any]]:
    """Return a generator that is ready to draw, and what is known of it.

    Args:
        model: Name or file of a model; several with commas, which take turns; `all` for those of
            the domain that fit every composition; None for the preferred one.
        coordinates: Model that finds coordinates where one makes none.
        device: Where they run.
        domain: What is made if no model says it.

    Raises:
        ConfigError: the models make different things, or one has no use for `coordinates`.
        UnknownNameError, MissingExtraError, CheckpointError: a model cannot be had.
    """
    names = [name.strip() for name in (model or "").split(",")]
    names = list(room_of(domain).ALL) if names == [ALL] else names
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected each model once, got {model}.")
    parts: dict[str, Generator] = {}
    cards: dict[str, dict[str, Any]] = {}
    for name in names:
        generator, card = _one(name, device, domain)
        if generator.outputs == "blueprint" or len(names) == 1:
            generator = with_coordinates(generator, coordinates, device)
        parts[card["name"]], cards[card["name"]] = generator, card
    if len(parts) == 1:
        return generator, card
    sizes: dict[str, int] = next((c["n_atoms"] for c in cards.values() if "n_atoms" in c), {})
    return GeneratorMixture(parts), {"name": ", ".join(parts), "n_atoms": sizes, "models": cards}


def _one(name: str, device: str, domain: Domain) -> tuple[Generator, dict[str, Any]]:
    weightless = room_of(domain).WEIGHTLESS
    if name in weightless:
        return weightless[name]()
    try:
        return load_generator(name or None, device, domain)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{did_you_mean(name, [*weightless, ALL])}") from error
