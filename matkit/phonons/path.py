"""Lines between special points of the Brillouin zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from phonopy.structure.atoms import PhonopyAtoms


@dataclass(frozen=True)
class Segment:
    """One straight line of the band structure.

    Attributes:
        start: Name of its first point.
        end: Name of its last point.
        qpoints: [P, 3] in units of the primitive reciprocal lattice vectors.
    """

    start: str
    end: str
    qpoints: np.ndarray


def band_path(primitive: PhonopyAtoms, points: int) -> list[Segment]:
    """Return the path of Hinuma et al. 2017 (https://doi.org/10.1016/j.commatsci.2016.10.015).

    Args:
        primitive: Primitive cell.
        points: Points on the longest segment; shorter ones have fewer, at least two.
    """
    import seekpath

    cell = (primitive.cell, primitive.scaled_positions, primitive.numbers)
    found = seekpath.get_path_orig_cell(cell)
    ends = [
        (a, b, np.array(found["point_coords"][a]), np.array(found["point_coords"][b]))
        for a, b in found["path"]
    ]
    reciprocal = np.linalg.inv(primitive.cell).T
    lengths = np.array([np.linalg.norm((q - p) @ reciprocal) for _, _, p, q in ends])
    counts = np.maximum(2, np.rint(points * lengths / lengths.max())).astype(int)
    return [
        Segment(_name(a), _name(b), np.linspace(p, q, count))
        for (a, b, p, q), count in zip(ends, counts.tolist(), strict=True)
    ]


def _name(label: str) -> str:
    return "Γ" if label == "GAMMA" else label
