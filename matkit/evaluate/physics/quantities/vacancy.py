"""Energies that it takes to remove an atom of an element."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.evaluate.physics.relaxation import energy_at_rest, energy_of

NUMBERS = {"vacancy energy": NumberKind("eV")}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
# Atoms that a supercell has at least.
FEWEST = 32


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return the elements: of compounds it depends on where the atom goes to."""
    return {name: atoms for name, atoms in crystals.items() if len(set(atoms.numbers)) == 1}


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return ``E(N - 1) - (N - 1) / N E(N)``, with relaxed positions in a fixed cell."""
    supercell = sample.atoms.repeat(int(np.ceil(np.cbrt(FEWEST / len(sample.atoms)) - 1e-9)))
    perfect = energy_of(sample.atoms, calc) / len(sample.atoms)
    vacant = supercell[1:]
    return {"vacancy energy": {"": energy_at_rest(vacant, calc) - len(vacant) * perfect}}
