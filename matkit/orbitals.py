"""Orbitals of a basis set: which shells every element has, and where they stand in a matrix.

Shells are given by their degrees l, in the order of the matrix's rows: ``{1: (0, 0, 1), 8: (0, 0,
0, 1, 1, 2)}`` is def2-SVP for hydrogen and oxygen. Lower degrees come first, as in PySCF; each
shell has 2l + 1 orbitals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matkit.elements import format_species
from matkit.errors import ConfigError

Shells = Mapping[int, Sequence[int]]


def check_shells(shells: Mapping[Any, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Return the shells of every element as they should be written.

    Args:
        shells: Degrees by atomic number; numbers may be texts, as files have them.

    Raises:
        ConfigError: an element has none, or they do not begin with the lowest degrees.
    """
    checked = {int(z): tuple(map(int, degrees)) for z, degrees in shells.items()}
    for z, degrees in checked.items():
        if not degrees or min(degrees) < 0 or list(degrees) != sorted(degrees):
            raise ConfigError(
                f"Expected the degrees of the shells of {format_species([z])}, lowest first, such "
                f"as [0, 0, 1]; got {list(degrees)}."
            )
    if not checked:
        raise ConfigError("Expected the shells of at least one element, got none.")
    return checked


def orbital_count(degrees: Sequence[int]) -> int:
    """Return how many orbitals some shells have together."""
    return sum(2 * degree + 1 for degree in degrees)


def common_shells(shells: Shells) -> tuple[int, ...]:
    """Return the fewest shells that those of every element are among, lowest degrees first."""
    most = Counter[int]()
    for degrees in shells.values():
        most |= Counter(degrees)  # the larger number of each
    return tuple(sorted(most.elements()))


def common_rows(shells: Shells) -> dict[int, list[int]]:
    """Return, for every element, which orbitals of the common shells it has, in its own order."""
    common = common_shells(shells)
    first = [orbital_count(common[:i]) for i in range(len(common))]
    rows = {}
    for z, degrees in shells.items():
        places = [
            common.index(degree) + degrees[:i].count(degree) for i, degree in enumerate(degrees)
        ]
        rows[z] = [first[p] + m for p in places for m in range(2 * common[p] + 1)]
    return rows
