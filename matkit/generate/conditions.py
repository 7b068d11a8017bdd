"""Properties that structures are asked to have, as people write them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matkit.errors import ConfigError


def strange_conditions(texts: list[str], learnt: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what is to be said of conditions outside of what the generator was trained on.

    Args:
        texts: Conditions as name=value.
        learnt: `min` and `max` of each property in the training set.
    """
    remarks = []
    for name, value in parse_conditions(texts).items():
        bounds = learnt.get(name)
        if bounds is not None and not bounds["min"] <= value <= bounds["max"]:
            remarks.append(
                f"{name} = {value:g} lies outside of the training set ({bounds['min']:g} to "
                f"{bounds['max']:g}): what comes is a guess"
            )
    return remarks


def parse_conditions(texts: list[str]) -> dict[str, float]:
    """Return the properties that are asked for.

    Raises:
        ConfigError: one is not written as name=value, or twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not name.strip() or not np.isfinite(number) or name.strip() in found:
            raise ConfigError(f"Expected conditions as name=value, each once; got {texts}.")
        found[name.strip()] = number
    return found
