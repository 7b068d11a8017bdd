"""Molecules from a generator: which ones, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.molecules.generation.options import MoleculeOptions

_HOME = {"MoleculeOptions": "options"}
__all__ = ["MoleculeOptions"]

__getattr__ = exports(__name__, _HOME)
