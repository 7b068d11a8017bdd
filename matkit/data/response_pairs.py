"""Pairs of structures whose differences are learnt: responses to a small step, and interactions.

Two successive structures of `config_type` ``response`` that are the same crystal or molecule, atom
by atom, are one pair: on both sides of a geometry, or anything else that is little apart. Their
difference of forces and stresses is a response. So are two of ``interaction`` that are
far apart, such as molecules beside each other and the same ones alone: their difference of energies
is that of the interaction.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.data.dataset import Dataset, has_label
from matkit.scopes import ranges
from matkit.structures import Structures

KIND, INTERACTION = "response", "interaction"
ALONE = -1
# Root mean square displacement of atoms, in Å, and strain beyond which structures are no responses;
# those of interactions are displaced further.
FARTHEST, MOST_STRAINED = 0.5, 0.1
LEAST_STRAIN = 1e-8


def pair_numbers(dataset: Dataset) -> Int[Tensor, " B"]:
    """Return the number of the pair that each structure is of, -1 of none.

    Pairs have the number of the first of their structures.
    """
    found = torch.full((len(dataset),), ALONE)
    kinds, groups = dataset.config_types, dataset.groups
    for first in range(len(dataset) - 1):
        if kinds[first] not in (KIND, INTERACTION) or found[first] != ALONE:
            continue
        same = kinds[first + 1] == kinds[first] and groups[first + 1] == groups[first]
        if same and _is_pair(dataset.structures, first, kinds[first] == KIND):
            found[first : first + 2] = first
    return found


def _is_pair(structures: Structures, first: int, near: bool) -> bool:
    """Return whether a structure and the next one differ by a small step, or by a large one."""
    two = structures.index([first, first + 1])
    count = int(two.n_atoms[0])
    if int(two.n_atoms[1]) != count or not torch.equal(two.pbc[0], two.pbc[1]):
        return False
    if not torch.equal(two.species[:count], two.species[count:]):
        return False
    pair = torch.tensor([[0, 1]])
    strain, displacement = float(strains(two, pair)), float(displacements(two, pair))
    if not near:
        return strain <= LEAST_STRAIN and displacement >= FARTHEST
    if strain > MOST_STRAINED or strain + displacement == 0:
        return False
    return strain > LEAST_STRAIN or displacement < FARTHEST


def pairs_of(structures: Structures, near: bool = True) -> Int[Tensor, "P 2"]:
    """Return which structures of a batch are pairs, by the field ``system["pair"]``.

    Args:
        structures: Batch.
        near: Whether pairs of responses are wanted, or those of interactions.
    """
    numbers = structures.system.get("pair")
    if numbers is None:
        return torch.zeros(0, 2, dtype=torch.long, device=structures.n_atoms.device)
    found = (numbers != ALONE).nonzero().flatten()
    order = found[numbers[found].argsort(stable=True)]
    together = numbers[order[1:]] == numbers[order[:-1]]
    first = together.nonzero().flatten()
    pairs = torch.stack([order[first], order[first + 1]], dim=1)
    return pairs[(steps(structures, pairs) < FARTHEST) == near]


def first_of_pairs(structures: Structures, label: str, near: bool = True) -> Bool[Tensor, " B"]:
    """Return which structures are the first of a pair of which both have a label."""
    pairs, there = pairs_of(structures, near), has_label(structures, label)
    first = torch.zeros_like(there)
    first[pairs[there[pairs].all(dim=1), 0]] = True
    return first


def atoms_of(structures: Structures, which: Int[Tensor, " P"]) -> Int[Tensor, " M"]:
    """Return the atoms of some structures of a batch, one structure after the other."""
    return ranges(structures.offsets[:-1][which], structures.n_atoms[which])


def strains(structures: Structures, pairs: Int[Tensor, "P 2"]) -> Float[Tensor, " P"]:
    """Return the Frobenius norm of the strain between the cells of each pair; 0 of molecules."""
    before, after = structures.cell[pairs[:, 0]], structures.cell[pairs[:, 1]]
    whole = structures.pbc[pairs[:, 0]].all(dim=1)
    unit = torch.eye(3, dtype=before.dtype, device=before.device)
    before = torch.where(whole[:, None, None], before, unit)
    after = torch.where(whole[:, None, None], after, unit)
    deformation = torch.linalg.solve(before, after) - unit
    return ((deformation + deformation.mT) / 2).square().sum(dim=(1, 2)).sqrt()


def displacements(structures: Structures, pairs: Int[Tensor, "P 2"]) -> Float[Tensor, " P"]:
    """Return the root mean square displacement of atoms from one to the other of a pair, in Å."""
    one, other = (atoms_of(structures, pairs[:, i]) for i in (0, 1))
    squares = (structures.positions[other] - structures.positions[one]).square().sum(dim=1)
    return pair_means(structures, pairs, squares).sqrt()


def pair_means(
    structures: Structures, pairs: Int[Tensor, "P 2"], values: Float[Tensor, " M"]
) -> Float[Tensor, " P"]:
    """Return the mean over the atoms of each pair."""
    counts = structures.n_atoms[pairs[:, 0]]
    owners = torch.arange(len(pairs), device=values.device).repeat_interleave(counts)
    return values.new_zeros(len(pairs)).index_add(0, owners, values) / counts


def steps(structures: Structures, pairs: Int[Tensor, "P 2"]) -> Float[Tensor, " P"]:
    """Return how far the structures of each pair are apart: strain, or displacement in Å."""
    strained = strains(structures, pairs)
    return torch.where(strained > LEAST_STRAIN, strained, displacements(structures, pairs))
