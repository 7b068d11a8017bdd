"""What a model of orbits is trained to say: fields of any orbit that is not yet there.

The order of the orbits means nothing. So the target is not the field of one orbit but spread evenly
over all that are left (Kazeev et al., ICML 2025), here for all fields: of the site symmetry, over
those of the drawn element that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from matkit.generative.parts.orbits import RANKS, Orbits, Positions
from matkit.generative.parts.randomness import Noise


@dataclass(frozen=True, eq=False)
class Parting:
    """Crystals that are partly there.

    Attributes:
        orbits: All orbits, those that are there first.
        there: Which are there [B, k].
    """

    orbits: Orbits
    there: Bool[Tensor, "B k"]

    @property
    def known(self) -> Orbits:
        """The orbits that are there."""
        return replace(self.orbits, mask=self.there)

    @property
    def left(self) -> Bool[Tensor, "B k"]:
        """Which orbits are not there [B, k]."""
        return self.orbits.mask & ~self.there

    def following(self, values: Int[Tensor, "B k"]) -> Int[Tensor, " B"]:
        """Return the value of the orbit that comes next [B], any one where none is left."""
        place = self.there.sum(dim=1).clamp(max=self.there.shape[1] - 1)
        return values.gather(1, place.unsqueeze(1)).squeeze(1)


def parted(orbits: Orbits, noise: Noise) -> Parting:
    """Return crystals of which a random number of random orbits is there, from none to all."""
    order = noise.uniform(orbits.mask.shape[1]).masked_fill(~orbits.mask, 2).argsort(dim=1)
    shuffled = replace(
        orbits, element=orbits.element.gather(1, order), position=orbits.position.gather(1, order)
    )
    count = (noise.uniform() * (orbits.count + 1)).long()
    there = torch.arange(order.shape[1], device=order.device) < count.unsqueeze(1)
    return Parting(shuffled, there)


def usable_positions(known: Orbits, positions: Positions) -> Bool[Tensor, "B 27"]:
    """Return where the next orbit can be: a position without free coordinates is used once."""
    places = one_hot(known.position, positions.size.shape[1]) * known.mask.unsqueeze(2)
    return (positions.size > 0) & ((positions.free > 0) | (places.sum(dim=1) == 0))


def legal_sites(
    usable: Bool[Tensor, "B 27"], positions: Positions, sites: int
) -> Bool[Tensor, "B s"]:
    """Return the site symmetries of usable positions [B, sites]."""
    return _scattered(usable, positions.site, sites) > 0


def legal_ranks(
    usable: Bool[Tensor, "B 27"], positions: Positions, site: Int[Tensor, " B"]
) -> Bool[Tensor, "B 8"]:
    """Return the ranks of usable positions of a site symmetry [B, 8]."""
    return _scattered(usable & (positions.site == site.unsqueeze(1)), positions.rank, RANKS) > 0


def field_errors(
    logits: list[Float[Tensor, "B _"]], parting: Parting, positions: Positions
) -> list[Float[Tensor, " B"]]:
    """Return the cross entropy of each field of the next orbit, each [B].

    Args:
        logits: What the network says of the fields, given the ones before of the orbit that
            follows.
        parting: What is there, and what is left.
        positions: The Wyckoff positions of the groups.
    """
    orbits, left = parting.orbits, parting.left
    site = positions.site.gather(1, orbits.position)
    rank = positions.rank.gather(1, orbits.position)
    usable = usable_positions(parting.known, positions)
    element, symmetry = parting.following(orbits.element), parting.following(site)
    ends = ~left.any(dim=1)
    targets = [_scattered(left, orbits.element, logits[0].shape[1])]
    targets[0][:, -1] = ends.to(targets[0])
    left = left & (orbits.element == element.unsqueeze(1))
    targets.append(_scattered(left, site, logits[1].shape[1]))
    left = left & (site == symmetry.unsqueeze(1))
    targets.append(_scattered(left, rank, RANKS))
    legal = [
        torch.ones_like(logits[0], dtype=torch.bool),
        legal_sites(usable, positions, logits[1].shape[1]),
        legal_ranks(usable, positions, symmetry),
    ]
    legal[0][:, -1] = parting.there.any(dim=1)
    return [
        _cross_entropy(*field) * (1 if i == 0 else ~ends)
        for i, field in enumerate(zip(logits, legal, targets, strict=True))
    ]


def log_probabilities(
    logits: Float[Tensor, "B c"], legal: Bool[Tensor, "B c"]
) -> Float[Tensor, "B c"]:
    """Return the logarithm of the probability of what is legal, hardly any of the rest [B, c]."""
    return logits.masked_fill(~legal, torch.finfo(logits.dtype).min / 2).log_softmax(dim=1)


def _cross_entropy(
    logits: Float[Tensor, "B c"], legal: Bool[Tensor, "B c"], target: Float[Tensor, "B c"]
) -> Float[Tensor, " B"]:
    share = (target / target.sum(dim=1, keepdim=True).clamp(min=1)).to(logits)
    return -(share * log_probabilities(logits, legal)).sum(dim=1)


def _scattered(
    chosen: Bool[Tensor, "B k"], token: Int[Tensor, "B k"], count: int
) -> Float[Tensor, "B c"]:
    """Return how often each token is chosen [B, count]."""
    found = torch.zeros(len(token), count, device=token.device)
    return found.scatter_add_(1, token, chosen.to(found))
