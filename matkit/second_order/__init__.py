"""Minima, transition states and reaction paths with second derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.second_order.initial import hessian_function, positive_hessian
    from matkit.second_order.irc import Branch, PathOptions, follow
    from matkit.second_order.optimizers import PRFO, RFO
    from matkit.second_order.options import TSOptions
    from matkit.second_order.results import TSResult
    from matkit.second_order.run import transition_state

_HOME = {
    "PRFO": "optimizers",
    "RFO": "optimizers",
    "Branch": "irc",
    "PathOptions": "irc",
    "TSOptions": "options",
    "TSResult": "results",
    "follow": "irc",
    "hessian_function": "initial",
    "positive_hessian": "initial",
    "transition_state": "run",
}
__all__ = [
    "PRFO",
    "RFO",
    "Branch",
    "PathOptions",
    "TSOptions",
    "TSResult",
    "follow",
    "hessian_function",
    "positive_hessian",
    "transition_state",
]

__getattr__ = exports(__name__, _HOME)
