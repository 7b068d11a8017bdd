"""Structures made for labelling: perturbed crystals, and molecules from SMILES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.builders.families import perturb
    from matkit.builders.molecules import build_molecules
    from matkit.builders.options import MoleculesOptions, PerturbOptions

_HOME = {
    "MoleculesOptions": "options",
    "PerturbOptions": "options",
    "build_molecules": "molecules",
    "perturb": "families",
}
__all__ = ["MoleculesOptions", "PerturbOptions", "build_molecules", "perturb"]

__getattr__ = exports(__name__, _HOME)
