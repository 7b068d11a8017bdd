"""Checks of hyper-parameters that networks share."""

from __future__ import annotations

from matkit.errors import ConfigError


def check_positive(**values: float) -> None:
    """Refuse numbers that are not above zero."""
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"Expected a positive `{name}`, got {value}.")


def check_not_negative(**values: float) -> None:
    """Refuse numbers below zero."""
    for name, value in values.items():
        if not value >= 0:
            raise ConfigError(f"Expected zero or more for `{name}`, got {value}.")
