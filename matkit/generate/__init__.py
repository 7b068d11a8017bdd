"""Crystals from a generator: what is asked for, sampling, relaxation, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.generate.options import CrystalOptions
    from matkit.generate.run import Batch, generate

_HOME = {"Batch": "run", "CrystalOptions": "options", "generate": "run"}
__all__ = ["Batch", "CrystalOptions", "generate"]

__getattr__ = exports(__name__, _HOME)
