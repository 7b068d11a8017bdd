"""Simple crystals of the elements that a model knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols, reference_states

from matkit.errors import StructureError
from matkit.evaluate.physics.equation_of_state import VACUUM, widest_gap

# Formula, structure and measured lattice constant in Å; those with different bonds come first.
KNOWN = (
    ("Cu", "fcc", 3.615),
    ("Si", "diamond", 5.431),
    ("NaCl", "rocksalt", 5.640),
    ("MgO", "rocksalt", 4.212),
    ("Al", "fcc", 4.050),
    ("W", "bcc", 3.165),
    ("GaAs", "zincblende", 5.653),
    ("CsCl", "cesiumchloride", 4.123),
    ("LiF", "rocksalt", 4.026),
    ("C", "diamond", 3.567),
    ("SiC", "zincblende", 4.360),
    ("Ag", "fcc", 4.086),
    ("Au", "fcc", 4.078),
    ("Ni", "fcc", 3.524),
    ("Mg", "hcp", 3.209),
    ("ZnO", "wurtzite", 3.250),
    ("CaF2", "fluorite", 5.463),
    ("SrTiO3", "perovskite", 3.905),
    ("NiAl", "cesiumchloride", 2.887),
    ("TiC", "rocksalt", 4.328),
    ("Pd", "fcc", 3.891),
    ("Pt", "fcc", 3.924),
    ("Na", "bcc", 4.291),
    ("V", "bcc", 3.024),
    ("Nb", "bcc", 3.301),
    ("Mo", "bcc", 3.147),
    ("Ti", "hcp", 2.951),
    ("Ge", "diamond", 5.658),
    ("ZnS", "zincblende", 5.409),
    ("AlN", "wurtzite", 3.112),
    ("Ar", "fcc", 5.300),
)
# Ratio c / a of the hexagonal ones.
C_OVER_A = {"Mg": 1.624, "Ti": 1.587, "ZnO": 1.602, "AlN": 1.600}
PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
# Structures of elements that ASE builds from its own lattice constant alone.
SIMPLE = ("fcc", "bcc", "diamond", "hcp")


def simple_crystals(species: Collection[int], count: int) -> list[Atoms]:
    """Return at most `count` primitive cells of crystals whose elements are all known.

    Args:
        species: Atomic numbers that the model knows.
        count: How many.
    """
    return list(islice(_possible(species), count))


def _possible(species: Collection[int]) -> Iterator[Atoms]:
    done = set()
    for formula, structure, a in KNOWN:
        atoms = _built(formula, structure, a)
        if set(atoms.numbers.tolist()) <= set(species):
            done.add(formula)
            yield atoms
    for z in sorted(species):
        state = reference_states[z] if z < len(reference_states) else None
        symbol = chemical_symbols[z]
        if state is not None and state["symmetry"] in SIMPLE and symbol not in done:
            yield bulk(symbol)


def _built(formula: str, structure: str, a: float) -> Atoms:
    if structure == "perovskite":
        return Atoms(formula, scaled_positions=PEROVSKITE, cell=[a, a, a], pbc=True)
    return bulk(formula, structure, a=a, covera=C_OVER_A.get(formula))


def crystal_names(crystals: Sequence[Atoms]) -> list[str]:
    """Return the formulas, with a number where one is there again."""
    formulas = [atoms.get_chemical_formula("metal") for atoms in crystals]
    before = [formulas[:i].count(formula) for i, formula in enumerate(formulas)]
    pairs = zip(formulas, before, strict=True)
    return [f"{formula} ({count + 1})" if count else formula for formula, count in pairs]


def refuse_non_crystals(crystals: Sequence[Atoms]) -> None:
    """Refuse molecules and slabs.

    Raises:
        StructureError: a structure is not periodic in three directions, or has vacuum.
    """
    for atoms in crystals:
        gap = widest_gap(atoms) if atoms.pbc.all() and atoms.cell.rank == 3 else np.inf
        if gap > VACUUM:
            raise StructureError(
                "Expected crystals, periodic in three directions and without vacuum, got "
                f"{atoms.symbols} with pbc = {atoms.pbc.tolist()}. Leave molecules and slabs out: "
                "the checks are those of bulk, and of pairs of atoms."
            )
