"""Crystals of known prototypes with other elements: a generator that knows instead of learning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.crystals.exchange import Exchange
from matkit.crystals.prototypes import Prototypes, Substitution
from matkit.elements import format_species
from matkit.errors import ConfigError
from matkit.interfaces import Condition, Generator
from matkit.structures import Structures, cat

# The table that comes with matkit, and what its users should know.
TABLE: Final = Path(__file__).parent.parent / "prototypes-mp20.npz"
CARD: Final = {
    "name": "prototypes",
    "licence": "CC-BY-4.0",
    "source": "made by matkit with experiments/prototype_table.py",
    "training_data": "a third of MP-20 (Materials Project; Jain et al., APL Materials 1, 011002 "
    "(2013), in the selection of Xie et al., CDVAE (2022)), not its test set; reference states of "
    "ASE",
}


class Substituted(Generator):
    """The likeliest prototypes of a composition, one after the other; no chance is involved.

    Without a composition, known crystals with elements exchanged for similar ones.

    Args:
        table: The prototypes.
    """

    inputs = frozenset({"n_atoms", "species", "space_group"})
    required = frozenset()
    steps = 1

    def __init__(self, table: Prototypes) -> None:
        super().__init__()
        self.table = table
        self.species = tuple(np.flatnonzero(table.volume).tolist())
        self.max_atoms = 1000
        # What is drawn depends on it, which makes it the weights of this generator.
        self.likeness = nn.Parameter(torch.from_numpy(table.likeness), requires_grad=False)
        self._ranked = lru_cache(maxsize=256)(table.substitutions)
        self.exchange = Exchange(table)

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """There is nothing to be trained.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("A table of prototypes cannot be trained; make another one.")

    def check_condition(self, condition: Condition) -> None:
        """Raise if a composition, number of atoms or space group is not that of a known prototype.

        Raises:
            UnknownElementError, ConfigError: as for every generator, or it is not.
        """
        super().check_condition(condition)
        if condition.species is None:
            for n_atoms, group in set(_sizes(condition)):
                if not len(self.exchange.members(n_atoms, group)):
                    raise ConfigError(
                        f"No known prototype has {n_atoms or 'any'} atoms in space group "
                        f"{group or 'any'}. Choose another model."
                    )
            return
        for species, group in _compositions(condition):
            if not self._ranked(species, group):
                of_group = "" if group is None else f" in space group {group}"
                raise ConfigError(
                    f"No known prototype{of_group} has {len(species)} atoms, of "
                    f"{format_species(set(species))}, in these numbers. Choose another model."
                )

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Return the prototypes of the condition's ranks, from the likeliest one on again.

        Raises:
            UnknownElementError, ConfigError: as `check_condition`.
        """
        self.check_condition(condition)
        if condition.species is None:
            pairs = zip(_sizes(condition), seeds.tolist(), strict=True)
            return cat([self._exchanged(*size, seed) for size, seed in pairs])
        ranks = [0] * len(condition) if condition.rank is None else condition.rank.tolist()
        made = []
        for (species, group), rank in zip(_compositions(condition), ranks, strict=True):
            choices = self._ranked(species, group)
            made.append(self._crystal(species, choices[rank % len(choices)]))
        return cat(made)

    def _exchanged(self, n_atoms: int | None, group: int | None, seed: int) -> Structures:
        members = self.exchange.members(n_atoms, group)
        chosen = self.exchange.drawn(members, np.random.default_rng(seed))
        atoms = slice(*self.table.offsets[chosen.geometry : chosen.geometry + 2])
        return self._crystal(np.array(chosen.elements)[self.table.role[atoms]].tolist(), chosen)

    def _crystal(self, species: Sequence[int], chosen: Substitution) -> Structures:
        table, geometry = self.table, chosen.geometry
        atoms = slice(*table.offsets[geometry : geometry + 2])
        numbers = np.array(chosen.elements)[table.role[atoms]]
        repeats = _repeats(table.cell[geometry], chosen.copies)
        shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(
            -1, 1, 3
        )
        fractional = ((table.fractional[atoms] + shifts) / repeats).reshape(-1, 3)
        # The atoms in the order that is asked for.
        place = np.argsort(np.argsort(species, kind="stable"), kind="stable")
        order = np.argsort(np.tile(numbers, chosen.copies), kind="stable")[place]
        cell = table.cell[geometry] * np.array(repeats)[:, None]
        volume = table.volume[list(species)].sum()
        cell = cell * (volume / abs(np.linalg.det(cell))) ** (1 / 3)
        return Structures(
            positions=torch.from_numpy(fractional[order] @ cell),
            species=torch.tensor(species),
            cell=torch.from_numpy(cell).unsqueeze(0),
            pbc=torch.ones(1, 3, dtype=torch.bool),
            n_atoms=torch.tensor([len(species)]),
        )


def known_prototypes() -> tuple[Substituted, dict[str, Any]]:
    """Return the prototypes that come with matkit, and what is known of them."""
    return Substituted(Prototypes.load(TABLE)), CARD


def _sizes(condition: Condition) -> list[tuple[int | None, int | None]]:
    """Return number of atoms and space group of each structure, as far as they are given."""
    groups, sizes = condition.space_group, condition.n_atoms
    return [
        (None if sizes is None else int(sizes[b]), None if groups is None else int(groups[b]))
        for b in range(len(condition))
    ]


def _compositions(condition: Condition) -> list[tuple[tuple[int, ...], int | None]]:
    """Return species and space group of each structure."""
    assert condition.species is not None  # `check_condition` asks for them
    parts = condition.species.cpu().split(condition.sizes.tolist())
    groups: Sequence[Any] = [None] * len(parts)
    if condition.space_group is not None:
        groups = condition.space_group.tolist()
    return [(tuple(part.tolist()), group) for part, group in zip(parts, groups, strict=True)]


def _repeats(cell: Float[np.ndarray, "3 3"], copies: int) -> tuple[int, int, int]:
    """Return how often each axis is repeated, so that they get as equal as they can."""
    lengths, best = np.linalg.norm(cell, axis=1), (copies, 1, 1)
    for a in range(1, copies + 1):
        for b in range(1, copies // a + 1):
            if copies % (a * b) == 0:
                best = min(
                    best, (a, b, copies // (a * b)), key=lambda n: np.ptp(np.log(lengths * n))
                )
    return best
