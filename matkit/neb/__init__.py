"""Minimum energy paths between two structures, of molecules and of atoms in crystals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.neb.options import NEBOptions
    from matkit.neb.results import NEBResult
    from matkit.neb.run import neb

_HOME = {"NEBOptions": "options", "NEBResult": "results", "neb": "run"}
__all__ = ["NEBOptions", "NEBResult", "neb"]

__getattr__ = exports(__name__, _HOME)
