"""Crystals from a generator: which ones, coordinates for blueprints, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.crystals.generation.options import CrystalOptions

_HOME = {"CrystalOptions": "options"}
__all__ = ["CrystalOptions"]

__getattr__ = exports(__name__, _HOME)
