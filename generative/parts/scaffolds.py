"""Random connected parts of molecules, which training shows as scaffolds."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.generative.parts.pairs import Pairs, square
from matkit.generative.parts.randomness import Noise


def random_parts(
    bonded: Float[Tensor, "B P 1"], heavy: Bool[Tensor, "B n"], pairs: Pairs, noise: Noise
) -> Bool[Tensor, "B n"]:
    """Return connected heavy atoms, fewer than there are atoms, with some of their hydrogens.

    A part grows from one heavy atom along bonds to a random number of heavy atoms; of its
    hydrogens a random share belongs to it.

    Args:
        bonded: 1 for pairs with a bond, 0 for others [B, P, 1].
        heavy: Which atoms are no hydrogens [B, n].
        pairs: The pairs.
        noise: One stream of random numbers per molecule.
    """
    n = heavy.shape[1]
    near = square(bonded, pairs.number).squeeze(3) > 0.5
    size = (noise.uniform() * heavy.sum(dim=1)).ceil()
    rank = noise.uniform(n)
    part = torch.zeros_like(heavy)
    for _ in range(n):
        border = (near & part.unsqueeze(1)).any(dim=2) & heavy & ~part
        border = torch.where(part.any(dim=1, keepdim=True), border, heavy)
        border = border & (part.sum(dim=1) < size).unsqueeze(1)
        if not bool(border.any()):
            break
        first = torch.where(border, rank, -1.0).argmax(dim=1, keepdim=True)
        part = part.scatter(1, first, True) & (part | border)
    share = noise.uniform(n) < noise.uniform().unsqueeze(1)
    hydrogens = (near & part.unsqueeze(1)).any(dim=2) & ~heavy & share
    whole = part | hydrogens
    # Something must be left to be made: of a molecule as a whole nothing is shown.
    return whole & (whole.sum(dim=1) < pairs.incidence.any(dim=2).sum(dim=1)).unsqueeze(1)
