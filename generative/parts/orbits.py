"""Crystals as unordered sets of orbits: a species on a Wyckoff position of a space group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from matkit.generative.parts.layout import atom_mask, fractional_coordinates, pad
from matkit.structures import Structures
from matkit.symmetry.genes import gene_of
from matkit.symmetry.normalizer import equivalent_positions
from matkit.symmetry.sites import site_symmetries
from matkit.symmetry.traits import group_traits
from matkit.symmetry.wyckoff import wyckoff_positions

MOST = 27  # positions of a space group
RANKS = 8  # most positions of a group that have the same site symmetry
FREE = 4  # a position leaves 0 to 3 coordinates free


class Vocabulary(NamedTuple):
    """Tokens of a model.

    Attributes:
        species: Atomic numbers.
        sites: Names of site symmetries; any other one is the token after the last.
    """

    species: tuple[int, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Positions:
    """The Wyckoff positions of B space groups.

    Attributes:
        site: Token of the site symmetry [B, 27].
        rank: Number of the position among those of this site symmetry [B, 27].
        size: Atoms in a primitive cell [B, 27]; 0 where the group has no such position.
        free: Coordinates that are left free [B, 27].
        traits: What the groups are like [B, 27].
    """

    site: Int[Tensor, "B 27"]
    rank: Int[Tensor, "B 27"]
    size: Int[Tensor, "B 27"]
    free: Int[Tensor, "B 27"]
    traits: Float[Tensor, "B t"]

    def index(self, which: Tensor) -> Positions:
        """Return the positions of some of the groups."""
        return Positions(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Orbits:
    """B crystals of up to k orbits.

    Attributes:
        group: Number of the space group [B].
        element: Index of the species of each orbit [B, k].
        position: Index of the Wyckoff position of each orbit [B, k].
        mask: Which places hold an orbit [B, k].
    """

    group: Int[Tensor, " B"]
    element: Int[Tensor, "B k"]
    position: Int[Tensor, "B k"]
    mask: Bool[Tensor, "B k"]

    @property
    def count(self) -> Int[Tensor, " B"]:
        """Orbits of each crystal."""
        return self.mask.sum(dim=1)

    def index(self, which: Tensor) -> Orbits:
        """Return some of the crystals."""
        return Orbits(
            self.group[which], self.element[which], self.position[which], self.mask[which]
        )

    def in_setting(self, uniform: Float[Tensor, " B"]) -> Orbits:
        """Return the same crystals in equivalent settings of their groups, chosen at random."""
        rows = torch.zeros(len(self.group), MOST, dtype=torch.long)
        for b, (number, u) in enumerate(zip(self.group.tolist(), uniform.tolist(), strict=True)):
            settings = equivalent_positions(number)
            row = settings[int(u * len(settings))]
            rows[b, : len(row)] = torch.from_numpy(row)
        return replace(self, position=rows.to(self.position.device).gather(1, self.position))


def positions_of(
    group: Int[Tensor, " B"], vocabulary: Vocabulary, like: Float[Tensor, "*any"]
) -> Positions:
    """Return the Wyckoff positions of space groups; type and device are those of `like`."""
    numbers, place = group.cpu().unique(return_inverse=True)
    rows = [_rows(number, vocabulary.sites) for number in numbers.tolist()]
    table = torch.from_numpy(np.stack(rows))[place].to(like.device)
    traits = np.stack([group_traits(number) for number in numbers.tolist()])
    site, rank, size, free = table.unbind(dim=1)
    return Positions(site, rank, size, free, torch.from_numpy(traits)[place].to(like))


@cache
def _rows(number: int, sites: tuple[str, ...]) -> np.ndarray:
    tokens = {name: index for index, name in enumerate(sites)}
    table = np.zeros((4, MOST), dtype=np.int64)
    names = site_symmetries(number)
    for index, (one, (name, rank)) in enumerate(zip(wyckoff_positions(number), names, strict=True)):
        table[:, index] = tokens.get(name, len(sites)), rank, one.multiplicity, one.free
    return table


def with_orbits(structures: Structures) -> Structures:
    """Return crystals with what `orbits_of` needs to know, found once.

    Raises:
        StructureError: the symmetry of a crystal cannot be found.
    """
    if "orbit" in structures.atom:
        return structures
    cells, numbers = structures.cell.cpu().numpy(), structures.species.cpu().numpy()
    fractional = fractional_coordinates(structures).cpu().numpy()
    ends = structures.offsets.tolist()
    groups, orbits, positions = [], [], []
    for cell, start, end in zip(cells, ends[:-1], ends[1:], strict=True):
        gene = gene_of(cell, fractional[start:end], numbers[start:end])
        groups.append(gene.number)
        orbits.append(gene.orbit)
        positions.append(gene.position[gene.orbit])
    device = structures.device
    return structures.replace(
        atom={
            **structures.atom,
            "orbit": torch.from_numpy(np.concatenate(orbits)).to(device),
            "wyckoff": torch.from_numpy(np.concatenate(positions)).to(device),
        },
        system={**structures.system, "space_group": torch.tensor(groups, device=device)},
    )


def orbits_of(structures: Structures, species: Sequence[int]) -> Orbits:
    """Return the orbits of crystals that `with_orbits` has seen, each crystal's in any order."""
    atoms = atom_mask(structures.n_atoms)
    label = pad(structures.atom["orbit"] + 1, atoms) - 1  # -1 where there is no atom
    known = torch.tensor(species, device=structures.device)
    element = torch.searchsorted(known, structures.species)
    mask = atom_mask(label.max(dim=1).values + 1)
    # An atom of each orbit, whichever.
    first = torch.zeros_like(mask, dtype=torch.long)
    place = torch.arange(atoms.shape[1], device=known.device).expand_as(label)
    first.scatter_(1, label.clamp(min=0), torch.where(atoms, place, 0))
    return Orbits(
        structures.system["space_group"],
        pad(element, atoms).gather(1, first) * mask,
        pad(structures.atom["wyckoff"], atoms).gather(1, first) * mask,
        mask,
    )


def composition(orbits: Orbits, sizes: Int[Tensor, "B k"], elements: int) -> Int[Tensor, "B e"]:
    """Return atoms of each species in a primitive cell [B, elements]."""
    atoms = sizes * orbits.mask
    found: Tensor = (one_hot(orbits.element, elements) * atoms.unsqueeze(2)).sum(dim=1)
    return found
