"""What structures that are to be generated must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.scopes import ranges
from matkit.structures import Structures


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """What B structures to be generated must be; what is None is left to the generator.

    Attributes:
        count: B; needed only if no other field says it.
        n_atoms: Atoms of each [B]; None leaves the sizes open.
        species: Atomic numbers [N], in the order of the structures; needs `n_atoms`.
        space_group: Number of the space group of each [B].
        position: Wyckoff position of each atom [N], as in a `Blueprint`; needs `species` and
            `space_group`.
        conventional: Whether a cell with positions is the conventional one [B].
        elements: Which elements may occur in each, by atomic number [B, Z].
        required_elements: Which must [B, Z].
        scaffold: B structures whose atoms and bonds are to be part of what is made.
        properties: Properties they should have, each [B], in the unit of the training set.
        guidance: How much the properties are stressed: 0 ignores them, 1 is the conditional model.
        rank: Number of each structure among those of the same wishes [B], from 0: a generator that
            knows the likeliest one gives the next.
    """

    count: int | None = None
    n_atoms: Int[Tensor, " B"] | None = None
    species: Int[Tensor, " N"] | None = None
    space_group: Int[Tensor, " G"] | None = None
    position: Int[Tensor, " P"] | None = None
    conventional: Bool[Tensor, " C"] | None = None
    elements: Bool[Tensor, "E Z"] | None = None
    required_elements: Bool[Tensor, "R Y"] | None = None
    scaffold: Structures | None = None
    properties: Mapping[str, Tensor] = field(default_factory=dict)
    guidance: float = 1.0
    rank: Int[Tensor, " K"] | None = None

    def __post_init__(self) -> None:
        """Check that the fields describe the same number of structures and of atoms.

        Raises:
            ConfigError: they do not, or none says how many structures there are to be.
        """
        sizes = {name: len(value) for name, value in self._rows().items()}
        sizes |= {} if self.count is None else {"count": self.count}
        if not sizes or min(sizes.values()) < 1:
            raise ConfigError(
                "Expected at least one structure to generate: give `n_atoms` or `count`; got "
                f"{sizes or 'neither'}."
            )
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ConfigError(f"Expected rows for the same number of structures, got {said}.")
        self._check_atoms()

    def _check_atoms(self) -> None:
        if self.n_atoms is not None and int(self.n_atoms.min()) < 1:
            raise ConfigError(
                "Expected at least one atom in each structure to generate; got n_atoms = "
                f"{self.n_atoms.tolist()}."
            )
        total = None if self.n_atoms is None else int(self.n_atoms.sum())
        for name, rows in (("species", self.species), ("position", self.position)):
            if rows is not None and len(rows) != total:
                raise ConfigError(
                    f"`{name}` must have one row per atom of n_atoms, {total}; got {len(rows)}."
                )
        if self.position is not None and (self.species is None or self.space_group is None):
            raise ConfigError("Wyckoff positions need the `species` and the `space_group` too.")

    def _rows(self) -> dict[str, Tensor | Structures]:
        given: dict[str, Tensor | Structures | None] = {
            "n_atoms": self.n_atoms,
            "space_group": self.space_group,
            "conventional": self.conventional,
            "elements": self.elements,
            "required_elements": self.required_elements,
            "scaffold": self.scaffold,
            "rank": self.rank,
            **self.properties,
        }
        return {name: value for name, value in given.items() if value is not None}

    def __len__(self) -> int:
        """Return the number of structures B."""
        return self.count or len(next(iter(self._rows().values())))

    def index(self, which: Sequence[int]) -> Condition:
        """Return the condition of some of the structures."""
        rows = torch.tensor(which, dtype=torch.long)
        taken: dict[str, Any] = {"count": len(which)}
        for name, value in self._rows().items():
            if name in self.properties:
                continue
            taken[name] = value[rows] if isinstance(value, Tensor) else value.index(which)
        taken["properties"] = {name: value[rows] for name, value in self.properties.items()}
        if self.n_atoms is not None:
            starts = self.n_atoms.cumsum(0) - self.n_atoms
            atoms = ranges(starts[rows], self.n_atoms[rows])
            for name in ("species", "position"):
                if (value := getattr(self, name)) is not None:
                    taken[name] = value[atoms]
        return replace(self, **taken)

    def ranked(self, rank: Int[Tensor, " B"]) -> Condition:
        """Return the condition with other ranks."""
        return replace(self, rank=rank)

    @property
    def sizes(self) -> Int[Tensor, " B"]:
        """Atoms of each [B], for generators that must be told.

        Raises:
            ConfigError: the condition leaves them open.
        """
        if self.n_atoms is None:
            raise ConfigError("Expected numbers of atoms, got a condition that leaves them open.")
        return self.n_atoms

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the fields that say something of the structures."""
        others = {"count", "conventional", "properties", "guidance", "rank"}
        named = set(self.__dataclass_fields__) - others
        given = {name for name in named if getattr(self, name) is not None}
        return frozenset(given | ({"properties"} if self.properties else set()))
