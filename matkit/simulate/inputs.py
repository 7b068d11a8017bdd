"""What every simulation takes: a structure of ASE or pymatgen, and a calculator if one is named."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.data.pymatgen import as_atoms

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def prepare(structure: AnyStructure, calc: BaseCalculator | None) -> tuple[Atoms, BaseCalculator]:
    """Return ASE's atoms and the calculator, the default potential if none is given.

    Raises:
        StructureError: it is no structure of ASE or pymatgen.
    """
    return as_atoms(structure), default_calculator() if calc is None else calc


@lru_cache
def default_calculator() -> BaseCalculator:
    """Return the calculator of the default potential, loaded and prepared once."""
    from matkit.models.zoo import load_calculator  # which needs torch, other calculators do not

    return load_calculator()
