"""Transition states: minima, a band between them, a saddle search, and the paths down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.transition.irc import Branch, PathOptions, follow
    from matkit.transition.options import TSOptions
    from matkit.transition.results import TSResult
    from matkit.transition.run import transition_state

_HOME = {
    "Branch": "irc",
    "PathOptions": "irc",
    "TSOptions": "options",
    "TSResult": "results",
    "follow": "irc",
    "transition_state": "run",
}
__all__ = ["Branch", "PathOptions", "TSOptions", "TSResult", "follow", "transition_state"]

__getattr__ = exports(__name__, _HOME)
