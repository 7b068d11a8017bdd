"""Settings of a space group in which its operations look the same: its affine normaliser.

Moving the origin, or naming the axes in another order, may take a group to itself and yet exchange
some of its Wyckoff positions. One crystal then has several descriptions; Na and Cl of rock salt may
lie on positions a and b, or on b and a.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from matkit.symmetry.groups import SpaceGroup, space_group
from matkit.symmetry.sites import images
from matkit.symmetry.torus import solutions
from matkit.symmetry.wyckoff import wyckoff_positions


@cache
def equivalent_positions(number: int) -> Int[np.ndarray, "s n"]:
    """Return the permutations of positions that describe the same crystals [s, n].

    Row k says which index each position has in the k-th setting; the identity is one of them. In
    triclinic and monoclinic groups, axes are combined with coefficients of -1, 0 and 1 only.

    Args:
        number: Number of the space group.
    """
    group = space_group(number)
    if len(wyckoff_positions(number)) == 1:
        return np.zeros((1, 1), dtype=int)
    shifts = images(number, np.array(_maps(group, np.eye(3, dtype=int))))
    turns = [maps[0] for w in _axes(group) if (maps := _maps(group, w))]
    turned = np.unique(images(number, np.array(turns)), axis=0)
    # A permutation of a turn with one origin, followed by those of all origins.
    return np.unique(shifts[:, turned].reshape(-1, shifts.shape[1]), axis=0)


def _axes(group: SpaceGroup) -> Int[np.ndarray, "k 3 3"]:
    """Return changes of the axes [k, 3, 3] that take the rotations of a group to themselves."""
    matrices = _unimodular()
    inverses = np.rint(np.linalg.inv(matrices)).astype(int)
    own = set(_codes(group.rotations).tolist())
    for rotation in group.rotations:
        inside = np.isin(_codes(matrices @ rotation @ inverses), list(own))
        matrices, inverses = matrices[inside], inverses[inside]
    return matrices


@cache
def _unimodular() -> Int[np.ndarray, "k 3 3"]:
    entries = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    return entries[np.abs(np.rint(np.linalg.det(entries))) == 1]


def _codes(rotations: Int[np.ndarray, "*k 3 3"]) -> Int[np.ndarray, "*k"]:
    """Return one number for each matrix."""
    codes: np.ndarray = rotations.reshape(*rotations.shape[:-2], 9) @ 31 ** np.arange(9)
    return codes


def _maps(group: SpaceGroup, axes: Int[np.ndarray, "3 3"]) -> list[Float[np.ndarray, "4 4"]]:
    """Return the maps with these axes that take a group to itself, with all origins.

    An operation (W, w) becomes ``(P W P^-1, P w + p - P W P^-1 p)``, which must be the operation of
    this rotation that the group has: linear congruences for p.
    """
    turned = axes @ group.rotations @ np.rint(np.linalg.inv(axes)).astype(int)
    place = {code: i for i, code in enumerate(_codes(group.rotations).tolist())}
    match = [place[code] for code in _codes(turned).tolist()]
    change = (np.eye(3, dtype=int) - turned).reshape(-1, 3)
    wanted = (group.translations[match] - group.translations @ axes.T).reshape(-1)
    found = []
    for point, _ in solutions(change, wanted):
        one = np.eye(4)
        one[:3, :3], one[:3, 3] = axes, point
        found.append(one)
    return found


def canonical_orbits(number: int, orbits: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return orbits as one of their descriptions, the same for all that are equivalent.

    Args:
        number: Number of the space group.
        orbits: Species and Wyckoff position of each.
    """
    species, positions = np.array(sorted(orbits)).T
    settings = equivalent_positions(number)[:, positions]
    return min(tuple(sorted(zip(species.tolist(), row, strict=True))) for row in settings.tolist())
