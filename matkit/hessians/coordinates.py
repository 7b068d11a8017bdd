"""The directions in which a structure can move without merely being shifted or turned."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.hessians.modes import rigid_motions


def root_masses(atoms: Atoms) -> Float[np.ndarray, " D"]:
    """Return the square root of the mass of every coordinate [3N], √amu."""
    return np.sqrt(np.repeat(atoms.get_masses(), 3))


def internal_basis(
    atoms: Atoms, free: list[int] | None, mass_weighted: bool = False
) -> Float[np.ndarray, "D K"]:
    """Return an orthonormal basis [3N, K] of the motions that change the energy.

    Shifts and turns of a molecule are left out, shifts of a periodic structure, and nothing but
    the atoms that are held where there are some: these say where the others are.

    Args:
        atoms: Structure.
        free: Atoms that may move; None for all.
        mass_weighted: Whether coordinates are multiplied by the roots of the masses, √amu Å.
    """
    if free is not None:
        columns = (3 * np.array(free)[:, None] + np.arange(3)).ravel()
        return np.eye(3 * len(atoms))[:, columns]
    work = atoms.copy()
    work.pbc = False  # ASE warns of moments of inertia in crystals
    if not mass_weighted:
        work.set_masses(np.ones(len(atoms)))
    rigid = rigid_motions(work)
    if atoms.pbc.any():
        rigid = rigid[:, :3]  # the shifts come first
    return np.linalg.qr(rigid, mode="complete")[0][:, rigid.shape[1] :]
