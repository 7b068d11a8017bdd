"""Phonons of crystals by phonopy: bands, density of states, thermal properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.phonons.options import PhononsOptions
    from matkit.phonons.results import PhononsResult
    from matkit.phonons.run import phonons

_HOME = {"PhononsOptions": "options", "PhononsResult": "results", "phonons": "run"}
__all__ = ["PhononsOptions", "PhononsResult", "phonons"]

__getattr__ = exports(__name__, _HOME)
