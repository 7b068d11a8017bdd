"""Equations of state: energy over volume, and what is fitted to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.eos.options import EOSOptions
    from matkit.eos.results import EOSResult
    from matkit.eos.run import eos

_HOME = {"EOSOptions": "options", "EOSResult": "results", "eos": "run"}
__all__ = ["EOSOptions", "EOSResult", "eos"]

__getattr__ = exports(__name__, _HOME)
