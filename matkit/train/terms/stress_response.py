"""Errors of elastic constants: stresses that answer a strain (eV/Å³) or a displacement (eV/Å⁴).

Of pairs of structures a small step d apart (`matkit.data.response_pairs`): the mean absolute
component of ``(σ(2) - σ(1) - σ'(2) + σ'(1)) / d``. With atoms that move with the cell these are
elastic constants times a direction, without the relaxation of atoms, which `force_response` of the
same pairs teaches.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.data.response_pairs import first_of_pairs, pairs_of, steps
from matkit.interfaces import Properties
from matkit.structures import Structures

NEEDS = ("stress",)


def loss(prediction: Properties, target: Structures) -> Float[Tensor, " B"]:
    """Return the error of the response of every pair at its first structure [B], else 0."""
    pairs = pairs_of(target)
    error = prediction["stress"] - target.system["stress"]
    change = error[pairs[:, 1]] - error[pairs[:, 0]]
    known = torch.where(change.isnan(), 0.0, change).abs().mean(dim=(1, 2))
    found = known / steps(target, pairs)
    return found.new_zeros(len(target)).index_add(0, pairs[:, 0], found)


def labelled(target: Structures) -> Bool[Tensor, " B"]:
    """Return which structures [B] are the first of a pair with stresses."""
    return first_of_pairs(target, "stress")
