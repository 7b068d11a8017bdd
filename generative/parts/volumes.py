"""Volumes of crystals as sums over their atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.elements import SYMBOLS
from matkit.structures import Structures

RIDGE = 0.01  # weight of the mean volume of an atom beside that of one crystal
SMALLEST = 1.0  # Å³; a hydrogen in a metal takes next to nothing


def atomic_volumes(structures: Structures) -> dict[str, float]:
    """Return the volume of an atom of each species, Å³, that fit relative errors of crystals best.

    Species of which there are few stay near the mean of all.
    """
    species, place = structures.species.unique(return_inverse=True)
    counts = torch.zeros(len(structures), len(species), dtype=torch.float64)
    counts.index_put_((structures.batch, place), torch.ones(len(place)).double(), accumulate=True)
    mean = float((structures.volume / structures.n_atoms).median())
    rows = counts / structures.volume.unsqueeze(1)
    rest = 1 - mean * rows.sum(dim=1)
    normal = rows.T @ rows + RIDGE / mean**2 * torch.eye(len(species), dtype=torch.float64)
    fitted = mean + torch.linalg.solve(normal, rows.T @ rest)
    names = [SYMBOLS[z] for z in species.tolist()]
    return dict(zip(names, fitted.clamp(min=SMALLEST).tolist(), strict=True))


def volumes_of(species: Sequence[int], volumes: Mapping[str, float]) -> Float[Tensor, " e"]:
    """Return the volume of an atom of each species, Å³; the mean where it is not known."""
    mean = sum(volumes.values()) / max(1, len(volumes))
    return torch.tensor([volumes.get(SYMBOLS[z], mean) for z in species], dtype=torch.float64)
