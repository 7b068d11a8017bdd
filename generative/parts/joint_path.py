"""The joint way of all fields of a molecule from noise to data.

Positions go along straight lines, elements, charges and bonds are uncovered. Given atoms stay.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.generative.parts.alignment import aligned
from matkit.generative.parts.given import Given
from matkit.generative.parts.masked import cover, cover_again, uncover_surest
from matkit.generative.parts.molecules import DenseMolecules
from matkit.generative.parts.randomness import Noise
from matkit.generative.parts.straight import straight_path


class Jumps(NamedTuple):
    """How elements, charges and bonds are uncovered in sampling.

    Attributes:
        churn: Rate at which what is uncovered is covered again, less towards the end.
        temperature: Of the classes that are drawn: 1 as the network says, 0 the likeliest.
    """

    churn: float
    temperature: float


def joint_start(
    known: DenseMolecules, given: Given, noise: Noise, pairing: bool
) -> Float[Tensor, "B n 3"]:
    """Return the positions at time 0 [B, n, 3].

    Args:
        known: Molecules about their anchor; only what is given counts unless `pairing`.
        given: What is given.
        noise: One stream of random numbers per molecule.
        pairing: Whether noise takes the order and orientation nearest to the molecule.
    """
    n = given.mask.shape[1]
    drawn = given.settled(noise.normal(n, 3) * given.mask.unsqueeze(2))
    start = torch.where(given.part.unsqueeze(2), known.positions, drawn)
    if not pairing:
        return start
    # Atoms whose element is known are exchanged among those of the same, given ones not at all.
    element = 1 + known.species.argmax(dim=2)
    kind = torch.where(given.species, element, 0)
    kind = torch.where(given.part, -1 - torch.arange(n, device=kind.device), kind)
    return aligned(start, known.positions, kind, ~given.has_scaffold, given.mask)


def joint_path(
    start: Float[Tensor, "B n 3"],
    data: DenseMolecules,
    given: Given,
    time: Float[Tensor, " B"],
    noise: Noise,
) -> tuple[DenseMolecules, list[Tensor]]:
    """Return molecules at `time`, and which elements, charges and bonds are covered."""
    positions, _ = straight_path(start, data.positions, time)
    fields, covered = [], []
    values = (data.species, data.charges, data.bonds)
    for value, free in zip(values, given.free, strict=True):
        seen, hidden = cover(value, time, noise.uniform(value.shape[1]), free)
        fields.append(seen)
        covered.append(hidden)
    species, charges, bonds = fields
    return DenseMolecules(species, charges, bonds, positions, data.mask), covered


def joint_step(
    now: DenseMolecules,
    end: DenseMolecules,
    given: Given,
    progress: tuple[int, int],
    jumps: Jumps,
    noise: Noise,
) -> DenseMolecules:
    """Return molecules one step later.

    Args:
        now: Molecules.
        end: Predicted ends: logits and positions.
        given: What is given.
        progress: How many steps are done and how many there are in all.
        jumps: How classes are uncovered.
        noise: One stream of random numbers per molecule.
    """
    done, steps = progress
    left = steps - done
    # As many stay covered as the path says: what is covered again is made up for.
    again = min(jumps.churn / steps, (left - 1) / max(done, 1))
    chance = (1 + done * again) / left
    fields = []
    values = ((now.species, end.species), (now.charges, end.charges), (now.bonds, end.bonds))
    for (value, logits), free in zip(values, given.free, strict=True):
        draw, up = noise.uniform(value.shape[1], 2 + value.shape[2]), noise.uniform()
        was_known = free & (value.sum(dim=2) > 0)
        cold = logits.double() / jumps.temperature
        value = uncover_surest(value, cold, chance, (up, draw[..., 1:]), free)
        fields.append(cover_again(value, again, draw[..., 0], was_known))
    positions = now.positions + (given.settled(end.positions.double()) - now.positions) / left
    positions = torch.where(given.part.unsqueeze(2), now.positions, positions)
    species, charges, bonds = fields
    return DenseMolecules(species, charges, bonds, positions, now.mask)
