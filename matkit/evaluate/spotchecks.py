"""The structure of a data set that a report looks at more closely."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from matkit.data.ase import to_ase
from matkit.data.dataset import Dataset

# Larger structures are picked only if there are no others: dynamics of them are short.
MANY_ATOMS = 64


def pick_structure(dataset: Dataset) -> int | None:
    """Return the structure with the smallest largest force, of those with more than one atom.

    Structures of many atoms come after those of few, the smallest first, and those without forces
    last; None if all are single atoms.
    """
    structures = dataset.structures
    lengths = structures.atom["forces"].norm(dim=1).nan_to_num(nan=np.inf)
    largest = [float(lengths[a:b].max()) for a, b in _ranges(dataset)]
    counts = structures.n_atoms.tolist()
    several = [i for i in range(len(dataset)) if counts[i] > 1]
    return min(several, key=lambda i: (max(counts[i], MANY_ATOMS), largest[i]), default=None)


def bare_atoms(dataset: Dataset, i: int) -> Atoms:
    """Return one structure with its charge and spin but without labels."""
    part = dataset.structures.index([i])
    kept = {key: part.system[key] for key in ("charge", "spin") if key in part.system}
    return to_ase(part.replace(atom={}, system=kept))[0]


def _ranges(dataset: Dataset) -> list[tuple[int, int]]:
    offsets = dataset.structures.offsets.tolist()
    return list(itertools.pairwise(offsets))
