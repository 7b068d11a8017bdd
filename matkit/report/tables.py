"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float) -> str:
    """Return four significant digits without an exponent where that is short."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e8 else text


def percent(share: float) -> str:
    """Return a share as percentage."""
    return f"{100 * share:.2f} %"


def shown(value: Any, missing: str = "-") -> str:
    """Return any value as text, numbers rounded.

    Args:
        value: Number, text, list, mapping, ...
        missing: What stands for None.
    """
    match value:
        case None:
            return missing
        case bool():
            return "yes" if value else "no"
        case float():
            return number(value)
        case Mapping():
            return ", ".join(f"{k}: {shown(v, missing)}" for k, v in value.items()) or "none"
        case list() | tuple():
            return ", ".join(shown(item, missing) for item in value) or "none"
    return str(value)


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as aligned lines."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        aligned = [row[0].ljust(widths[0])]
        aligned += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)
