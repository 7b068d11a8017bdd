"""New crystals of known prototypes: known ones with some elements exchanged for similar ones."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from matkit.crystals.prototypes import Prototypes, Substitution, sorted_among
from matkit.crystals.validity import composition_validity

# Draws after which a crystal stays as it is known.
DRAWS = 200
# Stress on likeness. Of 196 crystals drawn without any (1.0), 62 % of the fifth that is most like
# known ones are stable, 28 % of the fifth that is least, and 47 % of all; with it, 75 % of 400.
STRESS = 2.0


class Exchange:
    """Draws new crystals by exchanging elements of known ones.

    Args:
        table: The known crystals.
    """

    def __init__(self, table: Prototypes) -> None:
        self.table = table

    def members(self, n_atoms: int | None, group: int | None) -> Int[np.ndarray, " k"]:
        """Return the known crystals of a number of atoms and a space group, if these are given."""
        table = self.table
        wanted = np.ones(len(table.geometry), dtype=bool)
        if n_atoms is not None:
            wanted &= table.n_atoms[table.geometry] == n_atoms
        if group is not None:
            wanted &= table.group[table.geometry] == group
        return np.flatnonzero(wanted)

    def drawn(self, members: Int[np.ndarray, " k"], rng: np.random.Generator) -> Substitution:
        """Return one of some crystals with elements exchanged.

        The more often an element takes the role of another one in known crystals, the likelier it
        does so here. The composition is balanced by SMACT, and the crystal is not one of the table.

        Args:
            members: Known crystals, at least one.
            rng: Source of randomness.
        """
        for _ in range(DRAWS):
            member = int(rng.choice(members))
            old = self._elements(member)
            new = np.array([rng.choice(len(row), p=row) for row in self._chances[old]])
            found = self._substitution(member, new)
            key = found.geometry, found.elements
            if len(set(found.elements)) == len(old) and key not in self._known:
                roles = self._roles(found.geometry)
                if composition_validity(np.array(found.elements)[roles].tolist()):
                    return found
        return self._substitution(member, old)

    def _substitution(self, member: int, elements: Int[np.ndarray, " r"]) -> Substitution:
        geometry = int(self.table.geometry[member])
        score = float(self.table.likeness[self._elements(member), elements].sum())
        found = sorted_among(elements, self.table.twin[geometry])
        return Substitution(geometry, found, 1, score)

    def _elements(self, member: int) -> Int[np.ndarray, " r"]:
        """Return the atomic number of each role of a known crystal."""
        row = self.table.elements[member]
        return row[row > 0]

    def _roles(self, geometry: int) -> Int[np.ndarray, " n"]:
        """Return the role of each atom of a geometry."""
        return self.table.role[slice(*self.table.offsets[geometry : geometry + 2])]

    @cached_property
    def _known(self) -> set[tuple[int, tuple[int, ...]]]:
        found = (self._substitution(m, self._elements(m)) for m in range(len(self.table.geometry)))
        return {(one.geometry, one.elements) for one in found}

    @cached_property
    def _chances(self) -> Float[np.ndarray, "Z Z"]:
        """How likely each element is to take the role of another one, where its volume is known."""
        likely = np.exp(STRESS * self.table.likeness) * (self.table.volume > 0)
        return likely / likely.sum(axis=1, keepdims=True)
