"""Small crystals with labels, and random numbers."""

import torch
from ase import Atoms
from ase.build import bulk

from matkit.data.ase import from_ase
from matkit.interfaces import Condition, Generator
from matkit.structures import Structures, cat

ELEMENTS = [8, 11, 17, 22]  # O, Na, Cl, Ti


def titania() -> Atoms:
    """Two formula units of rutile: six atoms."""
    x = 0.305
    fractional = [[0, 0, 0], [0.5, 0.5, 0.5], [x, x, 0], [-x, -x, 0]]
    fractional += [[0.5 - x, 0.5 + x, 0.5], [0.5 + x, 0.5 - x, 0.5]]
    return Atoms("Ti2O4", scaled_positions=fractional, cell=[4.59, 4.59, 2.96], pbc=True)


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64)


def monoxide() -> Atoms:
    """TiO of the CsCl type, the simplest crystal with two elements."""
    return bulk("TiO", "cesiumchloride", a=3.1)


def batch(*items: Atoms, gap: float = 1.5) -> Structures:
    """Crystals in one batch, all with the same band gap."""
    structures = cat([from_ase(item) for item in items])
    return structures.replace(system={"gap": torch.full((len(structures),), gap)})


def rotation() -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=seeded(5))).Q
    return q * torch.linalg.det(q)


def draw(generator: Generator, condition: Condition, steps: int, first: int) -> Structures:
    """Draw crystals whose seeds are consecutive numbers."""
    return generator.sample(condition, steps, torch.arange(first, first + len(condition)))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=seeded(seed))
