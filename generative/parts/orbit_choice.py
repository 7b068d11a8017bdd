"""Genes that come true as asked for: several are drawn for each crystal, and one is chosen.

Masks keep a goal in reach, but by themselves they distort: of two space groups with the same
formula both would be as frequent as in the training set. So one of several genes is drawn with the
probability that the model gives to what the masks allowed (sampling importance resampling; Rubin
1988): the model's own distribution of genes that reach the goal, the better the more there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.generative.parts.orbit_sampling import Beginning, Draft, OrbitSampler
from matkit.generative.parts.orbits import Vocabulary
from matkit.generative.parts.randomness import Noise
from matkit.interfaces import Blueprint
from matkit.symmetry.generic import generic_group
from matkit.symmetry.groups import space_group
from matkit.symmetry.wyckoff import wyckoff_positions

TRIES = 4
AGAIN = 1 << 50  # between the seeds of two tries


def drawn_genes(
    sampler: OrbitSampler,
    starts: Sequence[Beginning],
    candidates: int,
    seeds: Int[Tensor, " B"],
    tries: int = TRIES,
) -> list[Draft]:
    """Return one gene for each crystal, drawn again if its symmetry is higher than its group's.

    Args:
        sampler: Draws orbits.
        starts: What the crystals are to be, and in which groups that is possible.
        candidates: Genes to choose from.
        seeds: Seed of each crystal [B].
        tries: How often a gene is drawn at most.
    """
    noise = Noise(seeds)
    chance = noise.uniform(candidates).cpu().numpy()
    drafts = [
        [start.draft(float(u)) for u in row] for start, row in zip(starts, chance, strict=True)
    ]
    open_ones = [(b, k) for b, row in enumerate(drafts) for k in range(len(row))]
    while open_ones:
        uniform = noise.uniform(candidates, 3)
        rows, columns = zip(*open_ones, strict=True)
        going = sampler.extend([drafts[b][k] for b, k in open_ones], uniform[rows, columns])
        open_ones = [one for one, on in zip(open_ones, going, strict=True) if on]
    draw = noise.uniform(candidates).cpu().numpy()
    chosen = [_chosen(row, u) for row, u in zip(drafts, draw, strict=True)]
    again = [b for b, draft in enumerate(chosen) if tries > 1 and not _is_whole(draft)]
    if again:
        rest = [starts[b] for b in again]
        fresh = drawn_genes(sampler, rest, candidates, seeds[again] + AGAIN, tries - 1)
        for b, draft in zip(again, fresh, strict=True):
            chosen[b] = draft
    return chosen


def _chosen(drafts: Sequence[Draft], uniform: Float[np.ndarray, " K"]) -> Draft:
    """Return one of the genes, with a probability as its weight says, that has no higher symmetry.

    To take the largest of weights with Gumbel noise is to draw by weight; the next largest are
    drawn from the rest.
    """
    noisy = np.array([draft.weight for draft in drafts]) - np.log(-np.log(uniform))
    order = np.argsort(-noisy)
    ranked = [drafts[i] for i in order]
    return next((draft for draft in ranked if _is_whole(draft)), ranked[0])


def _is_whole(draft: Draft) -> bool:
    """Return whether the orbits have the symmetry of their group, not a higher one."""
    names: dict[int, int] = {}
    kinds = [(position, names.setdefault(e, len(names))) for e, position in sorted(draft.orbits)]
    number = draft.progress.number
    return generic_group(number, tuple(sorted(kinds))) == number


def blueprint_of(
    drafts: Sequence[Draft], vocabulary: Vocabulary, volumes: Float[Tensor, " v"]
) -> Blueprint:
    """Return the crystals of some genes, species in the order in which they were asked for.

    Args:
        drafts: Complete genes.
        vocabulary: Tokens of the model.
        volumes: Volume of an atom of each species in Å³.
    """
    rows = [_atoms(draft) for draft in drafts]
    element, position = torch.tensor([one for row in rows for one in row]).unbind(dim=1)
    cell = torch.tensor([float(volumes[[e for e, _ in row]].sum()) for row in rows])
    return Blueprint(
        species=torch.tensor(vocabulary.species)[element],
        n_atoms=torch.tensor([len(row) for row in rows]),
        space_group=torch.tensor([draft.progress.number for draft in drafts]),
        position=position,
        conventional=torch.tensor([draft.goal == 1 for draft in drafts]),
        system={"expected_volume": cell.double()},
    ).to(volumes.device)


def _atoms(draft: Draft) -> list[tuple[int, int]]:
    """Return species and position of each atom of the cell."""
    group = draft.progress.number
    points = space_group(group).centring if draft.goal == 1 else 1
    asked = [element for element, _ in draft.wish.formula]
    orbits = sorted(draft.orbits, key=lambda one: asked.index(one[0]) if asked else 0)
    sizes = [points * wyckoff_positions(group)[position].multiplicity for _, position in orbits]
    return [orbit for orbit, size in zip(orbits, sizes, strict=True) for _ in range(size)]
