"""Panels of the help: which options stand together, in the order in which they are shown.

A class of options says where those that it introduces stand: all of them by `panel`, some by
`panels`, such as ``{Panel.ADVANCED: ("smax", "cell_mode")}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Panel(StrEnum):
    """A panel of the help; options without another one are `MAIN`."""

    MAIN = "Options"
    FILES = "Files"
    MODEL = "Model"
    COMPARISON = "Comparison"
    LOSS = "Loss"
    OPTIMISER = "Optimiser"
    RUN = "Run and results"
    LABELS = "Labels in the files"
    ADVANCED = "Advanced"
    GENERAL = "General"


Panels = Mapping[Panel, tuple[str, ...]]


def panel_of(model: type[Any], name: str) -> Panel:
    """Return the panel of an option."""
    for cls in model.__mro__:
        panels: Panels = vars(cls).get("panels", {})
        for panel, names in panels.items():
            if name in names:
                return panel
    origin = [cls for cls in model.__mro__ if name in vars(cls).get("__annotations__", {})][-1]
    return Panel(vars(origin).get("panel", Panel.MAIN))
