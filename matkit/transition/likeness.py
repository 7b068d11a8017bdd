"""Whether two structures of the same atoms are the same molecule."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

# Two atoms are bonded if they are closer than this multiple of the sum of their covalent radii.
BONDED = 1.3
# Root mean square distance after alignment, Å, below which two geometries are one.
SAME = 0.1

# `identical`: the same bonds and geometry; `conformer`: the same bonds; `other`: neither.
Likeness = Literal["identical", "conformer", "other"]


def bonds(atoms: Atoms) -> frozenset[tuple[int, int]]:
    """Return the pairs of bonded atoms, by their numbers in the structure."""
    radii = covalent_radii[atoms.numbers]
    limits = BONDED * (radii[:, None] + radii)
    distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    first, second = np.nonzero(np.triu(distances < limits, 1))
    return frozenset(zip(first.tolist(), second.tolist(), strict=True))


def bond_changes(atoms: Atoms, target: Atoms) -> tuple[list[str], list[str]]:
    """Return the bonds that only the first structure has, and those only the second has.

    They are named like ``C0-H2``, by elements and numbers of the atoms.
    """
    before, after = bonds(atoms), bonds(target)

    def names(pairs: frozenset[tuple[int, int]]) -> list[str]:
        return [f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j}" for i, j in sorted(pairs)]

    return names(before - after), names(after - before)


def aligned(atoms: Atoms, target: Atoms) -> Atoms:
    """Return a copy that is shifted and turned, not reflected, as near to `target` as it can be.

    Kabsch 1976 (https://doi.org/10.1107/S0567739476001873), with equal weights and atom by atom.
    Structures with atoms that are held, and periodic ones, stay where they are.
    """
    copy = atoms.copy()
    if atoms.constraints or atoms.pbc.any():
        return copy
    center = atoms.positions.mean(axis=0)
    away = atoms.positions - center
    goal = target.positions - target.positions.mean(axis=0)
    u, _, v = np.linalg.svd(away.T @ goal)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    copy.positions = away @ u @ proper @ v + target.positions.mean(axis=0)
    return copy


def rmsd(atoms: Atoms, target: Atoms) -> float:
    """Return the root mean square distance of atoms after alignment, Å."""
    away = aligned(atoms, target).positions - target.positions
    return float(np.sqrt((away**2).sum(axis=1).mean()))


def likeness(atoms: Atoms, target: Atoms) -> Likeness:
    """Return how much alike two structures are, atom by atom.

    The bonds must be between the same atoms, and so mirror images by exchange of equal atoms are
    one in their bonds but not in their geometry.
    """
    if bonds(atoms) != bonds(target):
        return "other"
    return "identical" if rmsd(atoms, target) < SAME else "conformer"


def connects(ends: tuple[Atoms, Atoms], reactant: Atoms, product: Atoms) -> bool:
    """Return whether a path leads from the reactant to the product, in either sense.

    An end that is a conformer counts where reactant and product differ in their bonds. Where they
    do not, as in an inversion or a rotation, geometries must be the same.
    """
    same_bonds = bonds(reactant) == bonds(product)
    accepted = ("identical",) if same_bonds else ("identical", "conformer")

    def fits(first: Atoms, second: Atoms) -> bool:
        return likeness(first, reactant) in accepted and likeness(second, product) in accepted

    return fits(*ends) or fits(*ends[::-1])
