"""Wyckoff positions, derived from the operations of a space group.

The points that some operations leave where they are, modulo the lattice, form points, lines and
planes of the torus. They are found by intersecting what single operations leave, from the whole
cell down; those that an operation takes into each other are one position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from matkit.symmetry.groups import SpaceGroup, space_group
from matkit.symmetry.torus import annihilator, is_integer, solutions


@dataclass(frozen=True, eq=False)
class Position:
    """A Wyckoff position, in the primitive cell of its group.

    Attributes:
        point: Fractional coordinates of a representative [3].
        directions: Integer vectors along which the representative may move [f, 3].
        projector: Projector on these, the mean of the W of the site-symmetry group [3, 3].
        operations: For each atom of the orbit, which operation makes it of the first [m].
    """

    point: Float[np.ndarray, "3"]
    directions: Int[np.ndarray, "f 3"]
    projector: Float[np.ndarray, "3 3"]
    operations: Int[np.ndarray, " m"]

    @property
    def multiplicity(self) -> int:
        """Atoms in a primitive cell."""
        return len(self.operations)

    @property
    def free(self) -> int:
        """Coordinates that the group leaves free, 0 to 3."""
        return len(self.directions)


@dataclass(frozen=True, eq=False)
class _Part:
    """Part of the torus: a point plus combinations of directions, and what fixes it."""

    point: Float[np.ndarray, "3"]
    directions: Int[np.ndarray, "3 f"]
    fixing: Bool[np.ndarray, " G"]


@cache
def wyckoff_positions(number: int) -> tuple[Position, ...]:
    """Return the positions of a space group, from the smallest multiplicity to the general one."""
    group = space_group(number)
    whole = _Part(np.zeros(3), np.eye(3, dtype=int), np.arange(len(group.rotations)) == 0)
    found, known = [whole], _Known(group)
    known.add(whole)
    for part in found:  # grows on the way
        for operation in np.flatnonzero(~part.fixing).tolist():
            found += [s for s in _intersection(group, part, operation) if known.add(s)]
    positions = [_position(group, part) for part in found]
    order = [(p.multiplicity, p.free, p.point.round(6).tolist()) for p in positions]
    return tuple(positions[i] for i in sorted(range(len(order)), key=order.__getitem__))


class _Known:
    """Parts of the torus seen so far, with all that the group makes of them."""

    def __init__(self, group: SpaceGroup) -> None:
        self.group = group
        self.annihilators: dict[bytes, Int[np.ndarray, "r 3"]] = {}
        self.keys: set[tuple[bytes, bytes]] = set()

    def add(self, part: _Part) -> bool:
        """Return whether the part is new, and remember it."""
        if self._key(part) in self.keys:
            return False
        for rotation, translation in zip(
            self.group.rotations, self.group.translations, strict=True
        ):
            point = rotation @ part.point + translation
            self.keys.add(self._key(_part(self.group, point, rotation @ part.directions)))
        return True

    def _key(self, part: _Part) -> tuple[bytes, bytes]:
        # What fixes a part determines its directions, but not where it lies.
        fixing = part.fixing.tobytes()
        if fixing not in self.annihilators:
            self.annihilators[fixing] = annihilator(part.directions)
        offset = (self.annihilators[fixing] @ part.point).round(5)
        return fixing, ((offset % 1.0).round(5) % 1.0).tobytes()


def _part(
    group: SpaceGroup, point: Float[np.ndarray, "3"], directions: Int[np.ndarray, "3 f"]
) -> _Part:
    change = group.rotations - np.eye(3, dtype=int)
    stays = is_integer(change @ point + group.translations).all(axis=1)
    still = ~(change @ directions).any(axis=(1, 2))
    return _Part(point, directions, stays & still)


def _intersection(group: SpaceGroup, part: _Part, operation: int) -> list[_Part]:
    """Return what the operation leaves of the part."""
    change = group.rotations[operation] - np.eye(3, dtype=int)
    moved = change @ part.point + group.translations[operation]
    parts = []
    for s, free in solutions(change @ part.directions, -moved):
        point = part.point + part.directions @ s
        parts.append(_part(group, point - np.floor(point + 1e-9), part.directions @ free))
    return parts


def _position(group: SpaceGroup, part: _Part) -> Position:
    """Return the position with one operation for each atom of its orbit."""
    images = group.rotations @ part.point + group.translations
    directions = group.rotations @ part.directions
    seen: list[int] = []
    for i in range(len(images)):
        same = [
            j
            for j in seen
            if (directions[i] == directions[j]).all() and is_integer(images[i] - images[j]).all()
        ]
        if not same:
            seen.append(i)
    projector = group.rotations[part.fixing].mean(axis=0)
    return Position(part.point, part.directions.T, projector, np.array(seen))
