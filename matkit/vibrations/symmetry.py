"""What the symmetry of a molecule says: its rotations, and which modes absorb infrared light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Bool, Float

from matkit.hessians.modes import NormalModes, is_linear

if TYPE_CHECKING:
    from pymatgen.symmetry.analyzer import PointGroupAnalyzer

# How far an atom may be from its image under a symmetry operation, Å.
TOLERANCE = 0.05
# The part of a mode that turns like a vector is 1/√d for an irrep of d dimensions (up to 3), or 0.
VECTORIAL = 0.1
SINE = np.sqrt(3) / 2


def point_group(atoms: Atoms) -> PointGroupAnalyzer:
    """Return pymatgen's analysis of a molecule of two atoms or more; isotopes are told apart."""
    from pymatgen.core.structure import Molecule
    from pymatgen.symmetry.analyzer import PointGroupAnalyzer

    # The analyzer looks at elements only, so every kind of nucleus becomes an element of its own.
    molecule = Molecule([chemical_symbols[1 + kind] for kind in _kinds(atoms)], atoms.positions)
    return PointGroupAnalyzer(molecule, tolerance=TOLERANCE)


def infrared_active(atoms: Atoms, modes: NormalModes) -> Bool[np.ndarray, " M"]:
    """Return which modes symmetry allows to absorb infrared light; the others are inactive.

    A mode changes the dipole moment only if it has a part that turns like a vector: the mean of
    ``R ⊗ Γ(R) v`` over the operations R of the point group, with what they make of the mode v, is
    not zero. How strongly an allowed mode absorbs is not known: that takes charges.

    Args:
        atoms: Molecule.
        modes: Its normal modes, no atom held.
    """
    if not len(modes.vectors):
        return np.zeros(0, dtype=bool)
    operations = _operations(atoms)
    mean = np.zeros((3, 3, *modes.vectors.shape))
    for rotation in operations:
        images = np.empty_like(modes.vectors)
        images[:, _places(atoms, rotation)] = modes.vectors @ rotation.T
        mean += np.multiply.outer(rotation, images) / len(operations)
    active: np.ndarray = np.sqrt((mean**2).sum(axis=(0, 1, 3, 4))) > VECTORIAL
    return active


def _kinds(atoms: Atoms) -> np.ndarray:
    """Return a number for the kind of nucleus of every atom [N]."""
    nuclei = np.stack([atoms.numbers, atoms.get_masses()], axis=1)
    return np.unique(nuclei, axis=0, return_inverse=True)[1].ravel()


def _operations(atoms: Atoms) -> list[Float[np.ndarray, "3 3"]]:
    """Return the point group's matrices; of a linear molecule's, enough to tell vectors."""
    if not is_linear(atoms):
        return [op.rotation_matrix for op in point_group(atoms).get_symmetry_operations()]
    axis = atoms.get_moments_of_inertia(vectors=True)[1][0]
    cross = np.cross(np.eye(3), axis)
    # Rodrigues' formula for thirds of a turn.
    thirds = [np.eye(3) + sine * cross + 1.5 * cross @ cross for sine in (-SINE, SINE)]
    turns = [np.eye(3), *thirds]
    inverted = [-turn for turn in turns] if point_group(atoms).sch_symbol == "D*h" else []
    return turns + inverted


def _places(atoms: Atoms, rotation: np.ndarray) -> np.ndarray:
    """Return the atom [N] at whose place an operation puts each atom."""
    away = atoms.positions - atoms.get_center_of_mass()
    kinds = _kinds(atoms)
    distances = np.linalg.norm((away @ rotation.T)[:, None] - away, axis=2)
    distances[kinds[:, None] != kinds] = np.inf
    return distances.argmin(axis=1)
