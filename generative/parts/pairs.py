"""Pairs of atoms of dense batches, each once: [B, P, ...] with P = n (n - 1) / 2.

Pair by pair: (1, 0), (2, 0), (2, 1), (3, 0), ... So those of a smaller molecule come first, and
what it gets does not depend on the padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Pairs(NamedTuple):
    """Pairs of atoms of molecules of at most n atoms.

    Attributes:
        left: The atom of a pair that comes later [P].
        right: The other one [P].
        mask: Which pairs are pairs of atoms, not of empty places [B, P].
        number: Pair of any two places [n, n]; P for a place with itself.
        incidence: 1 where a place is in a pair of atoms [B, n, P].
    """

    left: Int[Tensor, " P"]
    right: Int[Tensor, " P"]
    mask: Bool[Tensor, "B P"]
    number: Int[Tensor, "n n"]
    incidence: Float[Tensor, "B n P"]


def pairs_of(mask: Bool[Tensor, "B n"], dtype: torch.dtype) -> Pairs:
    """Return the pairs of dense molecules.

    Args:
        mask: Which places hold an atom [B, n].
        dtype: Type of the incidence.
    """
    n = mask.shape[1]
    left, right = torch.tril_indices(n, n, -1, device=mask.device)
    count = len(left)
    number = torch.full((n, n), count, device=mask.device)
    number[left, right] = number[right, left] = torch.arange(count, device=mask.device)
    present = mask[:, left] & mask[:, right]
    places = torch.arange(n, device=mask.device).unsqueeze(1)
    ends = (left == places) | (right == places)
    return Pairs(left, right, present, number, (ends & present.unsqueeze(1)).to(dtype))


def pair_number(left: Int[Tensor, " M"], right: Int[Tensor, " M"]) -> Int[Tensor, " M"]:
    """Return the number of the pairs of two atoms each, in whatever order."""
    larger, smaller = torch.maximum(left, right), torch.minimum(left, right)
    return larger * (larger - 1) // 2 + smaller


def square(values: Float[Tensor, "B P c"], number: Int[Tensor, "n n"]) -> Float[Tensor, "B n n c"]:
    """Return the values of all pairs of places, zero for a place with itself."""
    n = len(number)
    filled = torch.nn.functional.pad(values, (0, 0, 0, 1))
    return filled.index_select(1, number.flatten()).view(len(values), n, n, -1)
