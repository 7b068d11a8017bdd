"""Errors of interaction energies, eV: what it takes to bring molecules apart.

Of pairs of structures with the same atoms, molecules beside each other and far apart
(`matkit.data.response_pairs`): the absolute error of the difference of their energies. This is a
small part of energies of molecules, and hardly counts in the loss of these.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.data.response_pairs import first_of_pairs, pairs_of
from matkit.interfaces import Properties
from matkit.structures import Structures

NEEDS = ("energy",)


def loss(prediction: Properties, target: Structures) -> Float[Tensor, " B"]:
    """Return the error of the interaction of every pair at its first structure [B], else 0."""
    pairs = pairs_of(target, near=False)
    error = prediction["energy"] - target.system["energy"]
    change = (error[pairs[:, 0]] - error[pairs[:, 1]]).abs()
    known = torch.where(change.isnan(), 0.0, change)
    return known.new_zeros(len(target)).index_add(0, pairs[:, 0], known)


def labelled(target: Structures) -> Bool[Tensor, " B"]:
    """Return which structures [B] are the first of a pair with energies."""
    return first_of_pairs(target, "energy", near=False)
