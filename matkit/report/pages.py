"""Web pages in one file each: text, tables, images and structures, nothing loaded from elsewhere.

The templates are the files `*.html.j2` beside this module. Each page extends `base.html.j2` and is
put together from the parts in `parts.html.j2`.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matkit.report.tables import percent, shown

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> Markup:
    """Return a page, or a part of one that other templates take as it is.

    Args:
        template: Name of a template without its ending.
        **values: What it shows; text is escaped, numbers in tables are rounded.
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(f"{template}.html.j2").render(values))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # a name that is missing is an error, not an empty place
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"shown": shown, "percent": percent, "base64": _base64}
    return made


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
