"""What a space group is like, in numbers that mean the same for all groups."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float

from matkit.symmetry.groups import PRIMITIVE, SpaceGroup, space_group
from matkit.symmetry.torus import is_integer

TRACES = (3, 2, 1, 0, -1)  # of a proper rotation of order 1, 6, 4, 3, 2
ORDERS = 12  # all orders of operations divide it
TRAITS = len(PRIMITIVE) + 4 * len(TRACES) + 1


@cache
def group_traits(number: int) -> Float[np.ndarray, "27"]:
    """Return what the group is like [27].

    These are its centring; what part of its operations are rotations and rotoinversions of each
    order, with and without a screw or glide; and the logarithm of their number.
    """
    group = space_group(number)
    centring = [float(letter == group.symbol[0]) for letter in PRIMITIVE]
    sign = np.rint(np.linalg.det(group.rotations)).astype(int)
    trace = sign * np.trace(group.rotations, axis1=1, axis2=2)
    moving = _moves(group)
    parts = [
        float(((sign == s) & (trace == t) & (moving == m)).mean())
        for s in (1, -1)
        for t in TRACES
        for m in (False, True)
    ]
    return np.array([*centring, *parts, np.log(len(group.rotations)) / np.log(48)])


def _moves(group: SpaceGroup) -> np.ndarray:
    """Return which operations, carried out repeatedly, move all points [G]."""
    shift, power = np.zeros_like(group.translations), np.eye(3, dtype=int)[None]
    for _ in range(ORDERS):
        shift = shift + (power @ group.translations[:, :, None])[:, :, 0]
        power = power @ group.rotations
    return np.array([not is_integer(mean).all() for mean in shift / ORDERS])
