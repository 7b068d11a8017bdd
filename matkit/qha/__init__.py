"""The quasi-harmonic approximation by phonopy: crystals at temperatures and constant pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.qha.options import QHAOptions
    from matkit.qha.results import QHAResult
    from matkit.qha.run import qha

_HOME = {"QHAOptions": "options", "QHAResult": "results", "qha": "run"}
__all__ = ["QHAOptions", "QHAResult", "qha"]

__getattr__ = exports(__name__, _HOME)
