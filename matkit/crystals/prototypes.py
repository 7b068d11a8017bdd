"""Prototypes: how known crystals are built, whatever their elements, and which elements do it.

A prototype is a space group with its orbits, where all orbits of one element are one role. Elements
that play the same roles are like each other; so known crystals tell which prototypes a composition
is likely to have (Hautier et al., Inorg. Chem. 50, 656 (2011), for ions).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, permutations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from matkit.errors import DataError

# Ways to give roles to elements that are looked at.
MOST = 120

Counts = tuple[int, ...]


class Substitution(NamedTuple):
    """A prototype with elements in its roles.

    Attributes:
        geometry: Index of the geometry.
        elements: Atomic number of each role.
        copies: Cells of the prototype in a cell of the composition.
        score: How like the elements are to those of known crystals.
    """

    geometry: int
    elements: tuple[int, ...]
    copies: int
    score: float


@dataclass(frozen=True, eq=False)
class Prototypes:
    """P geometries with A atoms in all, and M known crystals that are built like them.

    Attributes:
        cell: Lattice vectors as rows, Å [P, 3, 3].
        fractional: Fractional coordinates [A, 3].
        role: Role of each atom [A].
        n_atoms: Atoms of each geometry [P].
        group: Number of its space group [P].
        elements: Atomic number of each role of the known crystals, 0 for no role [M, R].
        geometry: Geometry of the known crystals [M].
        twin: First role of each geometry that may be exchanged with each without another crystal
            coming out, often itself [P, R].
        likeness: How like two elements are [Z, Z].
        volume: Volume of an atom of each element, Å³; 0 where none is known [Z].
    """

    cell: Float[np.ndarray, "P 3 3"]
    fractional: Float[np.ndarray, "A 3"]
    role: Int[np.ndarray, " A"]
    n_atoms: Int[np.ndarray, " P"]
    group: Int[np.ndarray, " P"]
    elements: Int[np.ndarray, "M R"]
    geometry: Int[np.ndarray, " M"]
    twin: Int[np.ndarray, "P R"]
    likeness: Float[np.ndarray, "Z Z"]
    volume: Float[np.ndarray, " Z"]

    @cached_property
    def offsets(self) -> Int[np.ndarray, " P_plus_1"]:
        """Where the atoms of each geometry begin."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)])

    @cached_property
    def counts(self) -> list[Counts]:
        """Atoms of each role of each geometry."""
        parts = np.split(self.role, self.offsets[1:-1])
        return [tuple(np.bincount(part).tolist()) for part in parts]

    @cached_property
    def _members(self) -> dict[Counts, Int[np.ndarray, " k"]]:
        """Known crystals of each composition without elements, the counts in order."""
        found: dict[Counts, list[int]] = {}
        for index, geometry in enumerate(self.geometry.tolist()):
            found.setdefault(tuple(sorted(self.counts[geometry])), []).append(index)
        return {key: np.array(value) for key, value in found.items()}

    def substitutions(self, species: Sequence[int], group: int | None = None) -> list[Substitution]:
        """Return prototypes for a composition, the likeliest first, each once.

        Args:
            species: Atomic number of every atom.
            group: Number of the space group that they are to have, if any.
        """
        composition = Counter(species)
        numbers = sorted(composition, key=lambda z: (composition[z], z))
        counts = [composition[z] for z in numbers]
        divisors = (m for m in range(1, min(counts) + 1) if all(c % m == 0 for c in counts))
        best: dict[tuple[int, tuple[int, ...]], Substitution] = {}
        for copies in divisors:
            known = self._members.get(tuple(count // copies for count in counts))
            if known is None:
                continue
            for one in self._scored(known, numbers, copies):
                key = one.geometry, one.elements
                wanted = group is None or self.group[one.geometry] == group
                if wanted and (key not in best or best[key].score < one.score):
                    best[key] = one
        return sorted(best.values(), key=lambda one: (-one.score, one.geometry, one.elements))

    def _scored(
        self, known: Int[np.ndarray, " k"], numbers: Sequence[int], copies: int
    ) -> list[Substitution]:
        """Return the substitutions that known crystals of one composition suggest."""
        found = []
        for geometry, rows in _by_geometry(known, self.geometry):
            counts = self.counts[geometry]
            places = np.argsort(counts, kind="stable")  # roles in the order of the numbers
            there = self.elements[rows][:, places]
            for order in _orders([counts[role] for role in places]):
                given = np.array(numbers)[order]
                score = self.likeness[there, given].sum(axis=1).max()
                elements = np.empty(len(places), dtype=int)
                elements[places] = given
                same = sorted_among(elements, self.twin[geometry])
                found.append(Substitution(geometry, same, copies, float(score)))
        return found

    def save(self, path: Path) -> Path:
        """Write a file; coordinates are rounded to 1/65536 of an axis.

        Args:
            path: A ``*.npz`` file.
        """
        small = dict.fromkeys(("role", "n_atoms", "group", "elements", "twin"), np.uint8)
        arrays = {
            name: value.astype(small.get(name, value.dtype)) for name, value in self._arrays()
        }
        arrays["fractional"] = np.round(self.fractional % 1 * 65536).astype(np.uint16)
        for name, kind in (
            ("cell", "f4"),
            ("likeness", "f2"),
            ("volume", "f4"),
            ("geometry", "u2"),
        ):
            arrays[name] = arrays[name].astype(kind)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return path

    def _arrays(self) -> list[tuple[str, np.ndarray]]:
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]

    @classmethod
    def load(cls, path: Path) -> Prototypes:
        """Read a file that `save` wrote.

        Raises:
            DataError: it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is no table of prototypes: {error}") from error
        arrays = {k: v.astype(float if v.dtype.kind == "f" else int) for k, v in arrays.items()}
        return cls(**arrays | {"fractional": arrays["fractional"] / 65536})


def sorted_among(elements: Int[np.ndarray, " r"], twin: Int[np.ndarray, " R"]) -> tuple[int, ...]:
    """Return the elements of the roles, in order where roles are exchangeable."""
    labels = twin[: len(elements)]
    places = np.argsort(labels, kind="stable")
    found = np.empty_like(elements)
    found[places] = elements[np.lexsort((elements, labels))]
    return tuple(found.tolist())


def _by_geometry(
    known: Int[np.ndarray, " k"], geometry: Int[np.ndarray, " M"]
) -> list[tuple[int, Int[np.ndarray, " k"]]]:
    order = known[np.argsort(geometry[known], kind="stable")]
    numbers, starts = np.unique(geometry[order], return_index=True)
    return list(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))


def _orders(counts: Sequence[int]) -> list[list[int]]:
    """Return the orders of elements, sorted by their counts, that keep the counts."""
    runs, start = [], 0
    for _, run in groupby(counts):
        stop = start + len(list(run))
        runs.append(permutations(range(start, stop)))
        start = stop
    ways = product(*runs)
    return [[i for part in way for i in part] for way, _ in zip(ways, range(MOST), strict=False)]
