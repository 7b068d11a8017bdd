"""Properties that structures are asked to have, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan, nan

from matkit.errors import ConfigError
from matkit.generate.options import GenerateOptions
from matkit.interfaces import Generator

# Words for goals that no number says.
GOALS = {"min": -inf, "max": inf}


def properties_asked(options: GenerateOptions) -> dict[str, float]:
    """Return the properties that structures should have; infinite for the least and the largest.

    Raises:
        ConfigError: one is not written as name=value, or twice.
    """
    asked = parse_conditions(options.condition)
    goals = parse_conditions(options.optimize, GOALS)
    if twice := asked.keys() & goals.keys():
        raise ConfigError(f"{min(twice)} is a condition and is to be optimized; ask for one.")
    return asked | goals


def check_goals(options: GenerateOptions, generator: Generator) -> None:
    """Raise ConfigError if something is to be optimized by a generator that does not do this."""
    if options.optimize and not generator.optimizes:
        raise ConfigError(
            "The generator does not search for properties, such as cdvae does; leave optimize out, "
            f"or ask for a condition. It knows: {', '.join(generator.properties) or 'none'}."
        )


def strange_conditions(
    asked: Mapping[str, float], learnt: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return what is to be said of conditions outside of what the generator was trained on.

    Args:
        asked: Value of each property that is asked for.
        learnt: `min` and `max` of each property in the training set.
    """
    remarks = []
    for name, value in asked.items():
        bounds = learnt.get(name)
        if bounds is not None and isfinite(value) and not bounds["min"] <= value <= bounds["max"]:
            remarks.append(
                f"{name} = {value:g} lies outside of the training set ({bounds['min']:g} to "
                f"{bounds['max']:g}): what comes is a guess"
            )
    return remarks


def parse_conditions(
    texts: list[str], words: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the properties that are asked for.

    Args:
        texts: Conditions as name=value.
        words: Words that stand for a value.

    Raises:
        ConfigError: one is not written as name=value, or twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        number = _number(value, words or {})
        if not name.strip() or isnan(number) or name.strip() in found:
            known = "".join(f" or name={word}" for word in words or ())
            raise ConfigError(f"Expected name=value{known}, each once; got {texts}.")
        found[name.strip()] = number
    return found


def _number(text: str, words: Mapping[str, float]) -> float:
    """Return the value of a text, NaN if it is neither a finite number nor one of the words."""
    if text.strip() in words:
        return words[text.strip()]
    try:
        number = float(text)
    except ValueError:
        return nan
    return nan if number in (inf, -inf) else number
