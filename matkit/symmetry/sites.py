"""Which Wyckoff position a point lies on, and what positions of different groups have in common.

A position is named by its site symmetry and by its number among the group's positions of that site
symmetry (Kazeev et al., ICML 2025): unlike letters, site symmetries mean the same in all groups.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float, Int

from matkit.errors import StructureError
from matkit.symmetry.groups import SpaceGroup, space_group
from matkit.symmetry.torus import annihilator, is_integer
from matkit.symmetry.wyckoff import wyckoff_positions

GRID = 48  # points that are fixed have coordinates that are multiples of 1/48
TOLERANCE = 1e-4  # in fractional coordinates

Key = tuple[bytes, bytes]


@dataclass(frozen=True, eq=False)
class _Atlas:
    """Where all images of a group's positions lie.

    Attributes:
        annihilators: By the operations that fix a point: a matrix whose product with it tells
            apart the points, lines or planes that they fix.
        index: Position by the operations that fix a point, and where it lies.
    """

    annihilators: dict[bytes, Int[np.ndarray, "r 3"]]
    index: dict[Key, int]


def locate(number: int, points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Return the index of the Wyckoff position of each point [n].

    Args:
        number: Number of the space group.
        points: Fractional coordinates [n, 3] in the primitive cell of the group's standard setting.

    Raises:
        StructureError: a point lies between two positions: it is not symmetric within 1e-4.
    """
    group, atlas = space_group(number), _atlas(number)
    change = group.rotations - np.eye(3, dtype=int)
    moved = np.einsum("gij,nj->ngi", change, points) + group.translations
    fixing = (np.abs(moved - np.rint(moved)) < TOLERANCE).all(axis=2)
    found = [atlas.index.get(_key(atlas, f, p), -1) for f, p in zip(fixing, points, strict=True)]
    if min(found, default=0) < 0:
        raise StructureError(
            f"{points[found.index(-1)].round(5).tolist()} is near several Wyckoff positions of "
            f"space group {number}, but on none. Symmetrise the structure first."
        )
    return np.array(found)


def images(number: int, maps: Float[np.ndarray, "p 4 4"]) -> Int[np.ndarray, "p n"]:
    """Return to which position affine maps take each of the group's positions [p, n].

    Args:
        number: Number of the space group.
        maps: Maps [p, 4, 4] that take the group to itself, in its primitive cell.
    """
    # A point with odd coordinates, where the position leaves them free, lies on no other position.
    generic = np.array([0.1234, 0.2345, 0.0671])
    places = [p.point + generic[: p.free] @ p.directions for p in wyckoff_positions(number)]
    moved = np.einsum("pij,nj->pni", maps[:, :3, :3], np.array(places))
    moved = moved + maps[:, None, :3, 3]
    return locate(number, moved.reshape(-1, 3)).reshape(len(maps), -1)


@cache
def site_symmetries(number: int) -> tuple[tuple[str, int], ...]:
    """Return for each position of a group its site symmetry, and its number among those of it.

    Two positions have the same site symmetry if the same rotations of the conventional cell fix
    their points, up to a rotation of the group. Its name is their number and a checksum.
    """
    found, seen = [], Counter[str]()
    for name in _names(number):
        found.append((name, seen[name]))
        seen[name] += 1
    return tuple(found)


def _names(number: int) -> list[str]:
    group = space_group(number)
    axes = group.primitive.T
    rotations = np.rint(axes @ group.rotations @ np.linalg.inv(axes)).astype(np.int8)
    turned = np.einsum("aij,bjk,akl->abil", rotations, rotations, _inverses(rotations))
    codes = ((turned + 1).reshape(*turned.shape[:2], 9) @ 3 ** np.arange(9)).astype("<i4")
    names = []
    for position in wyckoff_positions(number):
        fixing = _fixing(group, position.point, position.directions.T)
        least = min(np.sort(row).tobytes() for row in codes[:, fixing])
        names.append(f"{fixing.sum()}-{crc32(least):08x}")
    return names


def _inverses(rotations: Int[np.ndarray, "g 3 3"]) -> Int[np.ndarray, "g 3 3"]:
    return np.rint(np.linalg.inv(rotations.astype(float))).astype(np.int8)


@cache
def _atlas(number: int) -> _Atlas:
    group = space_group(number)
    atlas = _Atlas({}, {})
    for index, position in enumerate(wyckoff_positions(number)):
        directions = position.directions.T
        for rotation, translation in zip(group.rotations, group.translations, strict=True):
            point, turned = rotation @ position.point + translation, rotation @ directions
            fixing = _fixing(group, point, turned)
            if fixing.tobytes() not in atlas.annihilators:
                atlas.annihilators[fixing.tobytes()] = annihilator(turned)
            atlas.index[_key(atlas, fixing, point)] = index
    return atlas


def _fixing(
    group: SpaceGroup, point: Float[np.ndarray, "3"], directions: Int[np.ndarray, "3 f"]
) -> Bool[np.ndarray, " G"]:
    change = group.rotations - np.eye(3, dtype=int)
    stays = is_integer(change @ point + group.translations).all(axis=1)
    return stays & ~(change @ directions).any(axis=(1, 2))


def _key(atlas: _Atlas, fixing: Bool[np.ndarray, " G"], point: Float[np.ndarray, "3"]) -> Key:
    operations = fixing.tobytes()
    if operations not in atlas.annihilators:  # no point of the group has such a site symmetry
        return operations, b""
    offset = np.rint(GRID * (atlas.annihilators[operations] @ point)).astype(int) % GRID
    return operations, offset.tobytes()
