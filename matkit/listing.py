"""Long lists of names in messages."""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 5


def first_names(names: Iterable[str]) -> str:
    """Return the first names with commas, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + more
