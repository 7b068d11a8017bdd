"""Molecules: reading with bonds and charges, how good generated ones are, and what makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.molecules.api import MoleculeReport, evaluate_files
    from matkit.molecules.evaluation import MoleculeEvaluation
    from matkit.molecules.options import MoleculeScoreOptions
    from matkit.molecules.reading import read_molecules

_HOME = {
    "MoleculeEvaluation": "evaluation",
    "MoleculeReport": "api",
    "MoleculeScoreOptions": "options",
    "evaluate_files": "api",
    "read_molecules": "reading",
}
__all__ = [
    "MoleculeEvaluation",
    "MoleculeReport",
    "MoleculeScoreOptions",
    "evaluate_files",
    "read_molecules",
]

__getattr__ = exports(__name__, _HOME)
