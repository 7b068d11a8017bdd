"""Cubes whose volume is learned, with atoms anywhere: about the smallest generator."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from matkit.interfaces import Condition, Generator
from matkit.structures import Structures


class Boxes(Generator):
    """The logarithm of the volume of an atom is a learned number; atoms lie anywhere.

    Args:
        species: Atomic numbers.
        max_atoms: Atoms in the largest crystal.
        start: Volume of an atom before training, Å³.
    """

    domain = "crystal"
    inputs = frozenset({"n_atoms", "species"})
    required = frozenset({"n_atoms", "species"})
    steps = 1

    def __init__(self, species: Sequence[int], max_atoms: int = 20, start: float = 20.0) -> None:
        super().__init__()
        self.species, self.max_atoms = tuple(species), max_atoms
        self.mean = nn.Parameter(torch.tensor(start).log())

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return the mean volume of an atom in the training set, to begin with."""
        return {"start": float((structures.volume / structures.n_atoms).mean())}

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error of the logarithm of the volume [B]."""
        self.check_structures(structures)
        volume = (structures.volume / structures.n_atoms).log().to(self.dtype)
        return {"volume": (volume - self.mean) ** 2}

    def sample(self, condition: Condition, steps: int, seeds: Tensor) -> Structures:
        """Return cubes with atoms anywhere."""
        self.check_condition(condition)
        sizes = condition.sizes
        edges = (sizes * self.mean.double().exp()) ** (1 / 3)
        places = [
            torch.rand(n, 3, generator=_seeded(seed), dtype=torch.float64)
            for n, seed in zip(sizes.tolist(), seeds.tolist(), strict=True)
        ]
        return Structures(
            positions=torch.cat(places) * edges.detach().repeat_interleave(sizes)[:, None],
            species=condition.species,
            cell=torch.eye(3, dtype=torch.float64) * edges.detach()[:, None, None],
            pbc=torch.ones(len(sizes), 3, dtype=torch.bool),
            n_atoms=sizes,
        )


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
