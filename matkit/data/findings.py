"""What a check of data has found: how bad it is, what it means, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# From good to bad; only a problem makes a data set unfit.
SEVERITIES = ("fine", "note", "warning", "problem")
LISTED = 3


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        severity: One of `SEVERITIES`.
        check: What was looked at, such as `stress sign`.
        message: What was found and what it means.
        fix: What to do about it; empty if nothing.
    """

    severity: str
    check: str
    message: str
    fix: str = ""


def examples(sources: Sequence[str], values: Sequence[str] = ()) -> str:
    """Return a few structures, each with a value if there are any, and how many more there are."""
    texts = [f"{name} ({value})" for name, value in zip(sources, values, strict=False)] or sources
    more = f" and {len(sources) - LISTED} more" if len(sources) > LISTED else ""
    return ", ".join(texts[:LISTED]) + more
