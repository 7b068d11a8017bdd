"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float) -> str:
    """Return four significant digits without an exponent where that is short."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e8 else text


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as aligned lines."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        aligned = [row[0].ljust(widths[0])]
        aligned += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)
