"""The 230 space groups: names and operations, from spglib's database of settings.

Each group is given in its standard setting: of the settings in the database the first one, or the
one with the inversion centre at the origin (choice 2) where there are two origins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import spglib
from jaxtyping import Float, Int

from matkit.errors import UnknownNameError, did_you_mean

SETTINGS = range(1, 531)  # Hall numbers
GROUPS = 230
MONOCLINIC = range(3, 16)
# Names in use before 1992, when the double glide plane e got its letter.
OLD_NAMES = {"abm2": 39, "aba2": 41, "cmca": 64, "cmma": 67, "ccca": 68}
# Lattice vectors of a primitive cell as rows, in units of those of the conventional cell.
PRIMITIVE = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]],
    "C": [[1 / 2, -1 / 2, 0], [1 / 2, 1 / 2, 0], [0, 0, 1]],
    "I": [[-1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [1 / 2, 1 / 2, -1 / 2]],
    "F": [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
    "R": [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
}


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """A space group in a primitive cell of its standard setting.

    An operation takes the fractional coordinates x (a column) to W x + w.

    Attributes:
        number: Number in the International Tables.
        symbol: Hermann-Mauguin symbol, short.
        rotations: W of each operation [G, 3, 3], in the primitive basis; the identity first.
        translations: w of each operation [G, 3].
        primitive: Lattice vectors as rows [3, 3], in units of those of the conventional cell.
    """

    number: int
    symbol: str
    rotations: Int[np.ndarray, "G 3 3"]
    translations: Float[np.ndarray, "G 3"]
    primitive: Float[np.ndarray, "3 3"]

    @property
    def centring(self) -> int:
        """Lattice points in the conventional cell."""
        return round(1 / float(np.linalg.det(self.primitive)))


@cache
def space_group(number: int) -> SpaceGroup:
    """Return a space group by its number.

    Raises:
        UnknownNameError: there is no such number.
    """
    if not 1 <= number <= GROUPS:
        raise UnknownNameError(f"Space groups have the numbers 1 to {GROUPS}; got {number}.")
    hall = hall_number(number)
    symbol = _kind(hall).international_short.replace("_", "")
    primitive = np.array(PRIMITIVE[symbol[0]], dtype=float)
    table = spglib.get_symmetry_from_database(hall)
    assert table is not None  # as for all Hall numbers
    to_primitive = np.linalg.inv(primitive.T)
    rotations = np.rint(to_primitive @ table["rotations"] @ primitive.T).astype(int)
    translations = table["translations"] @ to_primitive.T
    # Operations that differ by a centring vector are one in the primitive cell.
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    first.sort()
    shifts = translations[first] - np.floor(translations[first] + 1e-6)
    return SpaceGroup(number, symbol, rotations[first], shifts, primitive)


@cache
def hall_number(number: int) -> int:
    """Return spglib's number of the standard setting of a space group."""
    settings = [hall for hall in SETTINGS if _kind(hall).number == number]
    return next((hall for hall in settings if _kind(hall).choice == "2"), settings[0])


def parse(name: str) -> int:
    """Return the number of a space group given as ``225``, ``Fm-3m``, ``P 21/c`` or ``P2_1/n``.

    Spaces, underscores and case do not matter; symbols of other settings are understood too.

    Raises:
        UnknownNameError: it is neither a number from 1 to 230 nor a symbol.
    """
    if name.strip().isdecimal():
        return space_group(int(name)).number
    plain = _plain(name)
    if plain not in _names():
        symbols = [space_group(number).symbol for number in range(1, GROUPS + 1)]
        near = did_you_mean(name.strip(), symbols).partition(" Known:")[0]
        raise UnknownNameError(
            f"{name!r} is no space group.{near} Give a number from 1 to {GROUPS} or a "
            "Hermann-Mauguin symbol such as Fm-3m or P2_1/c."
        )
    return _names()[plain]


@cache
def _names() -> dict[str, int]:
    """Return the number for each name; standard settings take precedence."""
    names = OLD_NAMES.copy()
    for hall in SETTINGS:
        for name in _symbols(hall):
            names.setdefault(_plain(name), _kind(hall).number)
    return names


def _symbols(hall: int) -> Iterator[str]:
    kind = _kind(hall)
    yield from (kind.international_short, kind.international_full)
    if kind.number in MONOCLINIC:
        yield " ".join(part for part in kind.international_full.split() if part != "1")


def _plain(name: str) -> str:
    return "".join(name.split()).replace("_", "").lower()


@cache
def _kind(hall: int) -> Any:
    return spglib.get_spacegroup_type(hall)
