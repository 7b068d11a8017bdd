"""What is found out about one crystal at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matkit.crystals.fingerprints import composition_fingerprint, structure_fingerprint
from matkit.crystals.parallel import Pool, with_timeout
from matkit.crystals.reading import Crystal
from matkit.crystals.validity import (
    CLOSEST,
    composition_validity,
    smallest_distance,
    smallest_self_distance,
)
from matkit.errors import StructureError
from matkit.symmetry.datasets import symmetry_dataset

if TYPE_CHECKING:
    from pymatgen.core import Structure

# Tolerances of the search for symmetry, in Å.
SYMPRECS = (0.01, 0.1)


@dataclass(frozen=True)
class Geometry:
    """Numbers of a structure.

    Attributes:
        closest: Smallest distance between two atoms of the cell or their images, in Å.
        own_image: Smallest distance of an atom to its own image, in Å.
        density: In g/cm³.
        volume: In Å³ per atom.
        space_groups: Number at each tolerance of `SYMPRECS`; None where none is found.
    """

    closest: float
    own_image: float
    density: float
    volume: float
    space_groups: tuple[int | None, ...]


@dataclass(frozen=True)
class Facts:
    """What is known of one entry.

    Attributes:
        structural: Whether it is a crystal with no two atoms nearer than 0.5 Å.
        compositional: Whether SMACT accepts its composition.
        geometry: None if there is no structure.
        fingerprints: Of composition [132] and structure [61]; None if not asked for or not
            computable.
        valid: As in CDVAE: both, and fingerprints computable if they were asked for.
        reason: Why there is no geometry.
    """

    structural: bool
    compositional: bool
    geometry: Geometry | None
    fingerprints: tuple[np.ndarray, np.ndarray] | None
    valid: bool
    reason: str = ""


def judge(crystals: Sequence[Crystal], pool: Pool, fingerprints: bool) -> list[Facts]:
    """Return the facts about crystals.

    Args:
        crystals: Entries, usable or not.
        pool: Where to compute.
        fingerprints: Whether to compute them, about 0.1 s for a crystal.
    """
    return pool.map(_judge, [(crystal, pool.timeout, fingerprints) for crystal in crystals])


def _judge(job: tuple[Crystal, float, bool]) -> Facts:
    crystal, timeout, wanted = job
    compositional = crystal.loaded and composition_validity(crystal.numbers)
    try:
        geometry = with_timeout(_geometry, (crystal,), timeout)
    except Exception as error:  # libraries raise anything on absurd cells
        return Facts(False, compositional, None, None, False, crystal.reason or repr(error))
    structural = geometry.closest >= CLOSEST
    prints = _fingerprints(crystal, timeout) if wanted else None
    valid = structural and compositional and (prints is not None or not wanted)
    return Facts(structural, compositional, geometry, prints, valid)


def _geometry(crystal: Crystal) -> Geometry:
    structure = crystal.structure
    if structure is None:
        raise StructureError(crystal.reason)
    return Geometry(
        smallest_distance(structure),
        smallest_self_distance(structure),
        float(structure.density),
        float(structure.volume / len(structure)),
        tuple(space_group(structure, symprec) for symprec in SYMPRECS),
    )


def space_group(structure: Structure, symprec: float) -> int | None:
    """Return the number of the space group, or None where spglib finds none.

    Args:
        structure: Crystal.
        symprec: Tolerance, in Å.
    """
    _, numbers = np.unique(structure.atomic_numbers, return_inverse=True)
    cell = structure.lattice.matrix, structure.frac_coords, numbers + 1
    dataset = symmetry_dataset(cell, symprec)
    return None if dataset is None else int(dataset.number)


def _fingerprints(crystal: Crystal, timeout: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return both fingerprints; without them CDVAE calls a crystal invalid."""
    try:
        structure = with_timeout(structure_fingerprint, (crystal.structure,), timeout)
        return composition_fingerprint(crystal.numbers), structure
    except Exception:  # Voronoi cells of distorted crystals raise anything
        return None
