"""Phonons of crystals by phonopy: bands, density of states, thermal properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matkit.phonons.options import PhononsOptions
    from matkit.phonons.results import PhononsResult
    from matkit.phonons.run import phonons

_HOME = {"PhononsOptions": "options", "PhononsResult": "results", "phonons": "run"}
__all__ = ["PhononsOptions", "PhononsResult", "phonons"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line's help does not wait for ASE."""
    if name not in _HOME:
        raise AttributeError(f"module 'matkit.phonons' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"matkit.phonons.{_HOME[name]}"), name)
