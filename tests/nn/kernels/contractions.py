"""Random inputs for symmetric contractions."""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.nn.contraction import SymmetricContraction
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irrep


def contraction(
    lmax: int = 2, top: int = 1, correlation: int = 3, channels: int = 3, n_species: int = 3
) -> SymmetricContraction:
    """A contraction from the degrees 0..lmax to 0..top, all of natural parity, float64."""
    torch.manual_seed(0)
    irreps = [Irrep(channels, degree, (-1) ** degree) for degree in range(lmax + 1)]
    layer = SymmetricContraction(tuple(irreps), tuple(irreps[: top + 1]), correlation, n_species)
    return layer.double()


def random_input(layer: SymmetricContraction, atoms: int = 5) -> tuple[Features, Tensor]:
    """Features and species of some atoms."""
    generator = torch.Generator().manual_seed(1)
    kind = layer.weights[0][0].dtype
    x = tuple(
        torch.randn(atoms, 2 * degree + 1, layer.layout.channels, generator=generator, dtype=kind)
        for degree, _ in layer.layout.sources
    )
    return x, torch.randint(layer.weights[0][0].shape[0], (atoms,), generator=generator)
