"""Strained crystals, and which of them are the same by symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.symmetry.datasets import symmetry_dataset

# Rows and columns of the components in Voigt order: xx, yy, zz, yz, xz, xy.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
# Strains and their images by symmetry are one if no element differs by more.
SAME = 1e-6


@dataclass(frozen=True)
class Strain:
    """A strain with one component.

    Attributes:
        component: Its number in Voigt order.
        amount: The element of the tensor (Green-Lagrange); of shear half the engineering strain.
    """

    component: int
    amount: float

    @property
    def tensor(self) -> Float[np.ndarray, "3 3"]:
        """Strain ``E = (F^T F - 1) / 2`` of a deformation F."""
        i, j = VOIGT[self.component]
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = self.amount
        return strain

    @property
    def voigt(self) -> float:
        """Component as in Voigt's notation: of shear twice the element of the tensor."""
        return self.amount * (1 if self.component < 3 else 2)


def strain_set(normal: Sequence[float], shear: Sequence[float]) -> list[Strain]:
    """Return every strain of the six components."""
    return [Strain(c, amount) for c in range(6) for amount in (normal if c < 3 else shear)]


def strained(atoms: Atoms, strain: Strain) -> Atoms:
    """Return a copy whose cell and positions are strained without being turned.

    The deformation is symmetric, ``F = (1 + 2 E)^(1/2)``. (pymatgen's and matcalc's are triangular:
    the cell is turned as well, and the stress with it. Of their strains that makes C44 0.6 % less.)
    """
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain.tensor)
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (vectors * np.sqrt(values)) @ vectors.T, scale_atoms=True)
    return copy


def point_group(atoms: Atoms, symprec: float) -> Float[np.ndarray, "G 3 3"]:
    """Return the rotations of a crystal's space group, Cartesian; only the identity at worst.

    Args:
        atoms: Crystal.
        symprec: Tolerance of the symmetry, Å.
    """
    cell = atoms.cell.array
    found = symmetry_dataset((cell, atoms.get_scaled_positions(), atoms.numbers), symprec)
    if found is None:
        return np.eye(3)[None]
    matrices = np.unique(found.rotations, axis=0)
    turned: np.ndarray = cell.T @ matrices @ np.linalg.inv(cell.T)
    return turned


def images(
    strains: Sequence[Strain], rotations: Float[np.ndarray, "G 3 3"]
) -> list[tuple[int, Float[np.ndarray, "3 3"]]]:
    """Return for every strain the first one that symmetry takes to it, and by which rotation."""
    found: list[tuple[int, np.ndarray]] = []
    for place, strain in enumerate(strains):
        first = {source for source, _ in found}
        found.append(
            next(
                (
                    (source, rotation)
                    for source in sorted(first)
                    if (rotation := _rotation(strains[source], strain, rotations)) is not None
                ),
                (place, np.eye(3)),
            )
        )
    return found


def _rotation(
    source: Strain, target: Strain, rotations: Float[np.ndarray, "G 3 3"]
) -> Float[np.ndarray, "3 3"] | None:
    turned = rotations @ source.tensor @ rotations.transpose(0, 2, 1)
    same = np.flatnonzero(np.abs(turned - target.tensor).max(axis=(1, 2)) < SAME)
    return rotations[same[0]] if len(same) else None


def symmetric(
    stiffness: Float[np.ndarray, "6 6"], rotations: Float[np.ndarray, "G 3 3"]
) -> Float[np.ndarray, "6 6"]:
    """Return elastic constants that are equal across the diagonal and under all rotations."""
    places = np.zeros((3, 3), int)
    for number, (i, j) in enumerate(VOIGT):
        places[i, j] = places[j, i] = number
    tensor = ((stiffness + stiffness.T) / 2)[places][:, :, places]
    turns = "gai,gbj,gck,gdl,ijkl->abcd"
    mean = np.einsum(turns, *[rotations] * 4, tensor, optimize=True) / len(rotations)
    rows, columns = zip(*VOIGT, strict=True)
    result: np.ndarray = mean[rows, columns][:, rows, columns]
    return result
