"""Volume of a crystal at rest."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample

NUMBERS = {"volume": NumberKind("Å³/atom")}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return all crystals."""
    return dict(crystals)


def numbers(sample: Sample, _calc: BaseCalculator) -> Numbers:
    """Return the volume per atom."""
    return {"volume": {"": sample.atoms.get_volume() / len(sample.atoms)}}
