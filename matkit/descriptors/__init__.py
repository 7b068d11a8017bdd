"""Invariant descriptors of atoms and structures, from the networks of potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.descriptors.options import DescriptorsOptions
    from matkit.descriptors.run import descriptors

_HOME = {"DescriptorsOptions": "options", "descriptors": "run"}
__all__ = ["DescriptorsOptions", "descriptors"]

__getattr__ = exports(__name__, _HOME)
