"""Quantities that potentials are compared by, one module each.

What such a module holds says `matkit.evaluate.physics.quantity`; nothing is imported for the names.
"""

from __future__ import annotations

import pkgutil


def quantity_names() -> list[str]:
    """Return the names of all quantities."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
