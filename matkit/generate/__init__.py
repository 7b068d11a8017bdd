"""Structures from a generator: what is asked for, sampling, relaxation, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.generate.batch import Batch
    from matkit.generate.options import GenerateOptions
    from matkit.generate.run import generate

_HOME = {"Batch": "batch", "GenerateOptions": "options", "generate": "run"}
__all__ = ["Batch", "GenerateOptions", "generate"]

__getattr__ = exports(__name__, _HOME)
