"""A web page in one file: text, tables and images, with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1150px; margin: 2em auto; padding: 0 1em;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6em 0; }
td, th { padding: .15em .7em; text-align: right; } th { font-weight: 600; }
td:first-child, th:first-child { text-align: left; }
tbody tr:nth-child(odd) { background: #f4f6f8; }
td.text { text-align: left; font-family: ui-monospace, monospace; font-size: .92em;
          overflow-wrap: anywhere; }
img { max-width: 100%; } .note { color: #555; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return the page with its parts, which are HTML already."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def section(title: str, parts: Iterable[str]) -> str:
    """Return parts under a heading."""
    body = "\n".join(parts)
    return f"<h2>{escape(title)}</h2>\n{body}"


def paragraph(text: str) -> str:
    """Return a note."""
    return f'<p class="note">{escape(text)}</p>'


def table(rows: Sequence[Sequence[str]], head_rows: int) -> str:
    """Return a table whose first `head_rows` rows are headings."""
    head = "".join(_row(row, "th") for row in rows[:head_rows])
    body = "".join(_row(row, "td") for row in rows[head_rows:])
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def settings(values: Mapping[str, Any]) -> str:
    """Return names and values as a table."""
    rows = (
        f'<tr><td>{escape(str(name))}</td><td class="text">{escape(_text(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def image(png: bytes, description: str) -> str:
    """Return an image that is part of the page."""
    data = base64.b64encode(png).decode()
    return f'<p><img alt="{escape(description)}" src="data:image/png;base64,{data}"></p>'


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in cells)}</tr>"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return "not set" if value is None else str(value)
