"""How good generated crystals are: validity, coverage, matches, uniqueness, novelty, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.crystals.evaluation import evaluate_crystals
    from matkit.crystals.options import CrystalsOptions
    from matkit.crystals.reading import read_crystals
    from matkit.crystals.results import CrystalEvaluation, Energetics
    from matkit.crystals.stability import read_hull
    from matkit.crystals.validity import composition_validity, structure_validity

_HOME = {
    "CrystalsOptions": "options",
    "Energetics": "results",
    "CrystalEvaluation": "results",
    "composition_validity": "validity",
    "evaluate_crystals": "evaluation",
    "read_crystals": "reading",
    "read_hull": "stability",
    "structure_validity": "validity",
}
__all__ = [
    "CrystalEvaluation",
    "CrystalsOptions",
    "Energetics",
    "composition_validity",
    "evaluate_crystals",
    "read_crystals",
    "read_hull",
    "structure_validity",
]

__getattr__ = exports(__name__, _HOME)
