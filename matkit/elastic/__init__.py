"""Elastic constants of crystals, from the stresses of strained ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.elastic.moduli import Moduli
    from matkit.elastic.options import ElasticOptions
    from matkit.elastic.results import ElasticResult
    from matkit.elastic.run import elastic

_HOME = {
    "ElasticOptions": "options",
    "ElasticResult": "results",
    "Moduli": "moduli",
    "elastic": "run",
}
__all__ = ["ElasticOptions", "ElasticResult", "Moduli", "elastic"]

__getattr__ = exports(__name__, _HOME)
