"""Simple crystals of the elements that a model knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols, reference_states

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
    ("Ar", "fcc", 5.300),
)
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
        atoms = bulk(formula, structure, a=a)
        if set(atoms.numbers.tolist()) <= set(species):
            done.add(formula)
            yield atoms
    for z in sorted(species):
        state = reference_states[z] if z < len(reference_states) else None
        symbol = chemical_symbols[z]
        if state is not None and state["symmetry"] in SIMPLE and symbol not in done:
            yield bulk(symbol)
