"""Which element, and which isotope of it, a text in a file of structures means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matkit.elements import ATOMIC_NUMBERS, SYMBOLS
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

# Masses in u (AME 2020); of other isotopes the mass number is taken.
HYDROGEN = {"D": 2.014101778, "T": 3.016049281}
# Labels are cut into letters and whatever numbers them.
LETTERS = re.compile(r"[A-Za-z]+")


class Species(NamedTuple):
    """An element: its atomic number, and the mass in u if an isotope is named."""

    number: int
    mass: float | None = None


@lru_cache(maxsize=4096)
def species_of(text: str) -> Species | None:
    """Return what a symbol (any case), an atomic number, `D`, `T` or an isotope (`13C`) means.

    Nothing else is taken for an element: a dummy (`X`) or a name with letters too many is None.
    """
    if text.isascii() and text.isdigit():
        return Species(int(text)) if len(text) < 4 and 0 < int(text) < len(SYMBOLS) else None
    isotope = re.fullmatch(r"(\d{1,3})([A-Za-z]{1,2})", text)
    mass, symbol = (float(isotope[1]), isotope[2]) if isotope else (None, text)
    symbol = symbol.capitalize()
    if mass is None and symbol in HYDROGEN:
        return Species(1, HYDROGEN[symbol])
    if symbol == "H" and mass in (2, 3):
        return Species(1, HYDROGEN["D" if mass == 2 else "T"])
    number = ATOMIC_NUMBERS.get(symbol, 0)
    possible = mass is None or number <= mass <= 3.5 * number
    return Species(number, mass) if number and possible else None


def species_of_type(text: str) -> Species | None:
    """Return what a type symbol of a CIF means, which may carry a charge: `Na1+`, `O2-`, `Cl-`."""
    found = re.fullmatch(r"(\d{0,3}[A-Za-z]{1,2}|\d{1,3})(\d*\.?\d*[+-]\d*|0\+?)?", text)
    if found:
        return species_of(found[1])
    numbered = re.fullmatch(r"([A-Z]|[A-Z][a-z])\d+", text)
    return species_of(numbered[1]) if numbered else None


def species_of_labels(labels: Sequence[str], formula: frozenset[str]) -> list[Species]:
    """Return the elements of labels such as `Na1`, `NA1`, `O2'`.

    Two capitals are one element (`CL1`) unless something in the file speaks for one of a single
    letter: in `CA1` beside `C1`, the `A` may well be a name (alpha carbon).

    Args:
        labels: All labels of a file.
        formula: Elements that the file says there are; empty if it does not.

    Raises:
        DataError: a label names no element, or may name two.
    """
    starts = [found[0] if (found := LETTERS.match(label)) else "" for label in labels]
    return [
        _of_label(label, start, frozenset(starts), formula)
        for label, start in zip(labels, starts, strict=True)
    ]


def _of_label(
    label: str, start: str, all_starts: frozenset[str], formula: frozenset[str]
) -> Species:
    # T is a tetrahedral site of a zeolite, not tritium.
    whole = species_of(start) if len(start) < 3 and start.upper() != "T" else None
    if whole is None:
        raise DataError(
            f"the label {label!r} names no element, and there is no _atom_site_type_symbol. Add it."
        )
    first = species_of(start[0])
    if len(start) == 1 or first is None or not (start.isupper() or start.islower()):
        return whole
    symbols = (start.capitalize(), start[0].upper())
    named = [symbol for symbol in symbols if symbol in formula]
    if len(named) == 1:
        return whole if named[0] == symbols[0] else first
    if named or _speaks_for_one_letter(start.upper(), all_starts):
        raise DataError(
            f"the label {label!r} may mean {symbols[0]} or {symbols[1]}, and there is no "
            "_atom_site_type_symbol. Add it."
        )
    return whole


def _speaks_for_one_letter(start: str, all_starts: frozenset[str]) -> bool:
    """Return whether other labels show that the second letter may be a name."""
    others = {other.upper() for other in all_starts}
    same = (other for other in others if len(other) > 1 and other[0] == start[0])
    return bool(others & set(start)) or any(species_of(other) is None for other in same)


def with_masses(atoms: Atoms, species: Sequence[Species]) -> Atoms:
    """Set the masses of isotopes that are named, unless the file has masses; return the atoms."""
    if any(one.mass is not None for one in species) and not atoms.has("masses"):
        masses = atoms.get_masses()
        given = [masses[i] if one.mass is None else one.mass for i, one in enumerate(species)]
        atoms.set_masses(given)
    return atoms


def isotopes(atoms: Atoms) -> str:
    """Return which atoms do not have the usual mass, as `2 H of 2.014 u`; empty if there are none.

    What differs by less than 0.3 % is the same element in another table of masses.
    """
    if not atoms.has("masses"):
        return ""
    from ase.data import atomic_masses

    masses, usual = atoms.get_masses(), atomic_masses[atoms.numbers]
    strange = np.flatnonzero(abs(masses - usual) > 0.003 * usual)
    counts = Counter((SYMBOLS[atoms.numbers[i]], f"{masses[i]:.4g}") for i in strange)
    return ", ".join(f"{n} {symbol} of {mass} u" for (symbol, mass), n in sorted(counts.items()))
