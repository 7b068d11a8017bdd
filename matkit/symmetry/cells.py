"""Cells of a space group, and Wyckoff orbits in them.

The basis of a cell is given in units of a primitive cell's lattice vectors: integers of
determinant 1 for another primitive cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from matkit.errors import StructureError
from matkit.symmetry.assignments import Assignments
from matkit.symmetry.datasets import niggli_cell
from matkit.symmetry.groups import space_group
from matkit.symmetry.torus import is_integer

SHAPE_SPREAD = 0.4  # of logarithms of lengths, in the shapes for which a basis is chosen


@dataclass(frozen=True, eq=False)
class Orbit:
    """Atoms that a group makes of one, the anchor, in the basis of a cell.

    Attributes:
        rotations: W of each atom [m, 3, 3]: atoms lie at W x + w, with x the anchor's place.
        translations: w of each atom [m, 3]; the first atom is the anchor itself.
        origin: A place where the anchor may be [3].
        directions: Where it may go, ``origin + u @ directions``; zero rows fill up [3, 3].
        projector: Projector on these directions [3, 3].
    """

    rotations: Float[np.ndarray, "m 3 3"]
    translations: Float[np.ndarray, "m 3"]
    origin: Float[np.ndarray, "3"]
    directions: Float[np.ndarray, "3 3"]
    projector: Float[np.ndarray, "3 3"]


def orbit(ways: Assignments, index: int, basis: Float[np.ndarray, "3 3"]) -> Orbit:
    """Return the orbit of one of the group's positions in a cell.

    Args:
        ways: Group and kind of the cell.
        index: Index of the position.
        basis: Basis of the cell [3, 3].
    """
    group, position = space_group(ways.number), ways.positions[index]
    to_cell = np.linalg.inv(basis.T)
    points = _lattice_points(basis)
    shifts = group.translations[position.operations] @ to_cell.T
    directions = np.zeros((3, 3))
    directions[: position.free] = position.directions @ to_cell.T
    return Orbit(
        rotations=np.tile(turned(group.rotations[position.operations], basis), (len(points), 1, 1)),
        translations=(points[:, None] + shifts).reshape(-1, 3),
        origin=to_cell @ position.point,
        directions=directions,
        projector=turned(position.projector[None], basis)[0],
    )


def starts(positions: Sequence[int], ways: Assignments) -> list[int]:
    """Return the index of the first atom of each orbit, where those of an orbit follow each other.

    Args:
        positions: Index of the Wyckoff position of each atom.
        ways: Group and kind of the cell.

    Raises:
        StructureError: they are not as many as their positions hold.
    """
    found, start = [], 0
    while start < len(positions):
        position = positions[start]
        end = start + ways.sizes[position]
        if list(positions[start:end]) != [position] * ways.sizes[position]:
            raise StructureError(
                f"Expected {ways.sizes[position]} atoms on position {position} of space group "
                f"{ways.number}, one after the other; got positions {list(positions[start:end])} "
                f"from atom {start} on."
            )
        found.append(start)
        start = end
    return found


def turned(matrices: np.ndarray, basis: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "k 3 3"]:
    """Return maps of fractional coordinates in the basis of another cell [k, 3, 3]."""
    return np.linalg.inv(basis.T) @ matrices @ basis.T


def conventional_basis(number: int) -> Float[np.ndarray, "3 3"]:
    """Return the basis of the conventional cell [3, 3]."""
    return np.rint(np.linalg.inv(space_group(number).primitive))


def reduced_basis(number: int, normal: Float[np.ndarray, "6"]) -> Float[np.ndarray, "3 3"]:
    """Return the basis of the Niggli cell [3, 3] for some shape that the group allows.

    Which of a lattice's vectors are the shortest depends on its shape, such as c/a. Models are
    trained on reduced cells: to generate all kinds of them, draw the shape.

    Args:
        number: Number of the space group.
        normal: Standard normal numbers that choose the shape [6].
    """
    vectors = lattice(number, normal)
    reduced = niggli_cell(vectors)
    assert reduced is not None  # as for every lattice with a volume
    basis = np.rint(reduced @ np.linalg.inv(vectors))
    return basis * np.rint(np.linalg.det(basis))  # no mirror image


def lattice(number: int, normal: Float[np.ndarray, "6"]) -> Float[np.ndarray, "3 3"]:
    """Return lattice vectors of a primitive cell that the group allows, of about unit volume.

    Args:
        number: Number of the space group.
        normal: Standard normal numbers that choose the shape [6].
    """
    vectors: np.ndarray = np.linalg.cholesky(_metric(number, SHAPE_SPREAD * normal))
    return vectors


def _metric(number: int, strain: Float[np.ndarray, "6"]) -> Float[np.ndarray, "3 3"]:
    """Return a metric tensor that the group leaves as it is, of about unit volume."""
    rotations = space_group(number).rotations
    mean = (rotations.mT @ rotations).mean(axis=0)
    values, vectors = np.linalg.eigh(mean)
    root = (vectors * np.sqrt(values)) @ vectors.T
    orthogonal = root @ rotations @ np.linalg.inv(root)
    logarithm = np.diag(strain[:3])
    logarithm[np.triu_indices(3, 1)] = strain[3:]
    symmetric = (logarithm + logarithm.T) / 2
    allowed = (orthogonal.mT @ symmetric @ orthogonal).mean(axis=0)
    values, vectors = np.linalg.eigh(allowed)
    return root @ (vectors * np.exp(2 * values)) @ vectors.T @ root


def _lattice_points(basis: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "k 3"]:
    """Return the points of the primitive lattice in a cell, in units of its vectors [k, 3]."""
    count = round(abs(float(np.linalg.det(basis))))
    found: list[np.ndarray] = []
    for point in product(range(count), repeat=3):
        place = np.linalg.inv(basis.T) @ np.array(point, dtype=float)
        if not any(is_integer(place - other).all() for other in found):
            found.append(place - np.floor(place + 1e-9))
        if len(found) == count:
            break
    return np.array(found)
