"""Energies of reactions between small molecules."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator

from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.evaluate.physics.relaxation import energy_at_rest

NUMBERS = {"reaction energy": NumberKind("eV")}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
# How many molecules are made; what is used up counts negative.
REACTIONS = {
    "N2 + 3 H2 -> 2 NH3": {"N2": -1, "H2": -3, "NH3": 2},
    "2 H2 + O2 -> 2 H2O": {"H2": -2, "O2": -1, "H2O": 2},
    "CO + H2O -> CO2 + H2": {"CO": -1, "H2O": -1, "CO2": 1, "H2": 1},
}


def subjects(_crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return the reactions, each with the atoms of one molecule of each kind."""
    return {
        name: sum((molecule(part) for part in parts), Atoms()) for name, parts in REACTIONS.items()
    }


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return the energies of the products less those of the reactants, without vibrations."""
    parts = REACTIONS[sample.name]
    energy = sum(count * energy_at_rest(molecule(part), calc) for part, count in parts.items())
    return {"reaction energy": {"": float(energy)}}
