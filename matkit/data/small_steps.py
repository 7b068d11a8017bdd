"""Structures of two sets that are a small step apart: frames of one trajectory, torn apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy.spatial import cKDTree

from matkit.data.dataset import Dataset
from matkit.data.fingerprints import Array
from matkit.geometry import complete_cell
from matkit.structures import Structures


def near_pairs(a: Dataset, b: Dataset, tolerance: float) -> list[tuple[int, int]]:
    """Find structures that are a small step apart, such as neighbours in a trajectory.

    Args:
        a: Structures.
        b: Other structures.
        tolerance: Largest displacement of an atom relative to the first one, in Å.

    Returns:
        Pairs (i, j) with structure j of `b` near structure i of `a`: same order of the atoms,
        orientation and cell. Every j comes at most once.
    """
    known, found = _by_order(a.structures), []
    for key, wanted in _by_order(b.structures).items():
        if key not in known:
            continue
        tree = cKDTree(_coordinates(a.structures.index(known[key])))
        rows = _coordinates(b.structures.index(wanted))
        distances, nearest = tree.query(rows, p=np.inf, distance_upper_bound=tolerance)
        near = np.flatnonzero(np.isfinite(distances)).tolist()
        found += [(known[key][nearest[row]], wanted[row]) for row in near]
    return sorted(found, key=lambda pair: pair[1])


def _by_order(structures: Structures) -> dict[bytes, list[int]]:
    """Group structures by the order of their atoms and their periodicity."""
    species, offsets = structures.species.numpy(), structures.offsets.tolist()
    pbc, groups = structures.pbc.numpy(), dict[bytes, list[int]]()
    for i, (first, last) in enumerate(pairwise(offsets)):
        groups.setdefault(species[first:last].tobytes() + pbc[i].tobytes(), []).append(i)
    return groups


def _coordinates(part: Structures) -> Array:
    """Return coordinates relative to the first atom, and cells, one row each, in Å.

    Where there is a cell they are points on circles as long as its vectors, so that it does not
    matter in which image of the cell an atom is.
    """
    n, cell = int(part.n_atoms[0]), part.cell
    positions = part.positions.reshape(-1, n, 3)
    relative = (positions - positions[:, :1]).flatten(1)
    if not bool(part.pbc.any()):
        return relative.numpy()
    turns = torch.linalg.solve(
        complete_cell(cell).transpose(1, 2), (positions - positions[:, :1]).transpose(1, 2)
    )
    angles = 2 * torch.pi * turns
    radius = complete_cell(cell).norm(dim=2).unsqueeze(2) / (2 * torch.pi)
    circles = torch.cat([radius * angles.cos(), radius * angles.sin()], dim=1).flatten(1)
    return torch.cat([circles, cell.flatten(1)], dim=1).numpy()
