"""Which orbits of which space group the atoms of a crystal form: its gene, without coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from matkit.errors import StructureError
from matkit.symmetry.datasets import symmetry_dataset
from matkit.symmetry.groups import hall_number, space_group
from matkit.symmetry.sites import locate

SYMPREC, ANGLE = 0.1, 5.0  # Å and degrees; those of the Materials Project, CDVAE and Kazeev et al.
FINER = 0.1  # next tolerance, if spglib finds nothing with one
ATTEMPTS = 4


@dataclass(frozen=True, eq=False)
class Gene:
    """The orbits of a crystal.

    Attributes:
        number: Number of the space group.
        orbit: Index of the orbit of each atom [N], from 0 on.
        species: Atomic number of each orbit [k].
        position: Index of the Wyckoff position of each orbit [k].
        places: Where one atom of each orbit lies [k, 3], in the primitive cell of the standard
            setting.
        cell: Lattice vectors of this cell [3, 3], Å, in an orientation of their own.
    """

    number: int
    orbit: Int[np.ndarray, " N"]
    species: Int[np.ndarray, " k"]
    position: Int[np.ndarray, " k"]
    places: Float[np.ndarray, "k 3"]
    cell: Float[np.ndarray, "3 3"]


def gene_of(
    cell: Float[np.ndarray, "3 3"],
    fractional: Float[np.ndarray, "N 3"],
    numbers: Int[np.ndarray, " N"],
) -> Gene:
    """Return the orbits of a crystal, symmetric within 0.1 Å and 5 degrees.

    Where spglib cannot say what the symmetry is, the tolerance is tightened.

    Args:
        cell: Lattice vectors as rows [3, 3], Å.
        fractional: Fractional coordinates [N, 3].
        numbers: Atomic numbers [N].

    Raises:
        StructureError: no symmetry is found, e.g. as atoms lie on each other.
    """
    for attempt in range(ATTEMPTS):
        found = _dataset((cell, fractional, numbers), SYMPREC * FINER**attempt)
        if found is not None:
            return found
    raise StructureError(
        f"Found no space group for a crystal of {len(numbers)} atoms. Do atoms lie on each other?"
    )


def _dataset(crystal: Any, symprec: float) -> Gene | None:
    data = symmetry_dataset(crystal, symprec, ANGLE)
    if data is not None and data.hall_number != hall_number(data.number):
        data = symmetry_dataset(crystal, symprec, ANGLE, hall_number(data.number))
    if data is None:
        return None
    group = space_group(data.number)
    _, first, orbits = np.unique(
        data.crystallographic_orbits, return_index=True, return_inverse=True
    )
    # The idealised atom that belongs to the first atom of each orbit.
    primitive = data.std_mapping_to_primitive.tolist()
    ideal = [primitive.index(i) for i in data.mapping_to_primitive[first]]
    places = data.std_positions[ideal] @ np.linalg.inv(group.primitive)
    return Gene(
        number=data.number,
        orbit=orbits,
        species=crystal[2][first],
        position=locate(data.number, places),
        places=places,
        cell=group.primitive @ data.std_lattice,
    )
