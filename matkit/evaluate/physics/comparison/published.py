"""Published numbers of the functional PBE, which many potentials were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.collections import dcdft

from matkit.evaluate.physics.comparison.items import Place
from matkit.evaluate.physics.comparison.run import PhysicsEntry
from matkit.evaluate.physics.quantity import Numbers
from matkit.symmetry.datasets import symmetry_dataset

NAME = "PBE, WIEN2k"
SOURCE = (
    "volumes and bulk moduli of elements, with all electrons: Lejaeghere, Van Speybroeck, Van Oost "
    "and Cottenier 2014, Critical Reviews in Solid State and Materials Sciences 39, 1, "
    "doi:10.1080/10408436.2013.772503, as they come with ASE (ase.collections.dcdft)"
)
# By quantity: its number that the source has, and what it is called there.
COLUMNS = {"volume": ("volume", "wien2k_volume"), "elastic": ("bulk modulus", "wien2k_B")}
SYMPREC = 1e-3


def published(wanted: Sequence[Place]) -> list[PhysicsEntry]:
    """Return the numbers that are known, in the form of those of a model.

    They are of elements whose structure is the one that the source takes. Its bulk moduli are those
    of equations of state.
    """
    found = [(place, _numbers(place)) for place in wanted if place.quantity in COLUMNS]
    return [PhysicsEntry(NAME, place, "done", numbers) for place, numbers in found if numbers]


def _numbers(place: Place) -> Numbers:
    symbols = set(place.start.get_chemical_symbols())
    symbol = min(symbols)
    if len(symbols) > 1 or not dcdft.has(symbol):
        return {}
    if _space_group(dcdft[symbol]) != _space_group(place.start):
        return {}
    number, column = COLUMNS[place.quantity]
    return {number: {"": float(dcdft.data[symbol][column])}}


def _space_group(atoms: Atoms) -> int:
    found = symmetry_dataset(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), SYMPREC
    )
    return 0 if found is None else int(found.number)
