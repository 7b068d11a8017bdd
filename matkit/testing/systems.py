"""Small structures that between them have every kind of periodicity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import natural_cutoffs, neighbor_list

from matkit.data.ase import from_ase
from matkit.structures import Structures


def water() -> Atoms:
    """A distorted molecule of water."""
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def crystal() -> Atoms:
    """A triclinic, distorted rock-salt cell with eight atoms."""
    atoms = bulk("NaCl", "rocksalt", a=5.4, cubic=True)
    strain = np.array([[1.03, 0.05, 0.02], [0.0, 0.98, -0.04], [0.0, 0.0, 1.01]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def slab() -> Atoms:
    """Three layers of sodium, periodic along the surface."""
    atoms = fcc111("Na", (1, 1, 3), a=4.2, vacuum=6.0)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.05, seed=3)
    return atoms


def tiny_cell() -> Atoms:
    """One atom that sees only images of itself."""
    return bulk("Na", "bcc", a=4.1)


SYSTEMS: dict[str, Callable[[], Atoms]] = {
    "molecule": water,
    "crystal": crystal,
    "slab": slab,
    "tiny cell": tiny_cell,
}


def batch(*atoms: Atoms) -> Structures:
    """Return structures as one batch."""
    return from_ase(list(atoms))


def bonded(*atoms: Atoms) -> Structures:
    """Return neutral molecules of single bonds as one batch."""
    structures = batch(*atoms)
    ends = [
        first + torch.tensor(_bonded_pairs(one)).view(-1, 2)
        for first, one in zip(structures.offsets.tolist(), atoms, strict=False)
    ]
    bonds = torch.cat(ends)
    return structures.replace(
        atom={"formal_charge": torch.zeros_like(structures.species)},
        bonds=bonds,
        bond={"order": torch.ones(len(bonds), dtype=torch.float64)},
    )


def _bonded_pairs(atoms: Atoms) -> np.ndarray:
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.15))
    pairs: np.ndarray = np.stack([i, j], axis=1)[i < j]
    return pairs


def random_rotation(seed: int = 0) -> torch.Tensor:
    """Return a proper rotation [3, 3], float64."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.sign(torch.linalg.det(q))
