"""Optimisers that follow second derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.simulate.optimizers.rfo import PRFO, RFO

_HOME = {
    "PRFO": "rfo",
    "RFO": "rfo",
}
__all__ = ["PRFO", "RFO"]

__getattr__ = exports(__name__, _HOME)
