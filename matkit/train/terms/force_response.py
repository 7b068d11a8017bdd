"""Errors of second derivatives: forces that answer a displacement (eV/Å²) or a strain (eV/Å).

Of pairs of structures a small step d apart (`matkit.data.response_pairs`): the mean length of
``(F(2) - F(1) - F'(2) + F'(1)) / d``. This is a Hessian times a direction by central differences,
on both sides of the comparison, so that no third derivative is needed to learn it and labels are
ordinary forces. Force constants of soft modes are small parts of forces, and hardly count in the
loss of these.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.data.response_pairs import atoms_of, first_of_pairs, pair_means, pairs_of, steps
from matkit.interfaces import Properties
from matkit.structures import Structures

NEEDS = ("forces",)
SOFTENING = 1e-10  # (eV/Å²)², so that lengths have a derivative at zero


def loss(prediction: Properties, target: Structures) -> Float[Tensor, " B"]:
    """Return the error of the response of every pair at its first structure [B], else 0."""
    pairs = pairs_of(target)
    error = prediction["forces"] - target.atom["forces"]
    one, other = (atoms_of(target, pairs[:, i]) for i in (0, 1))
    counts = target.n_atoms[pairs[:, 0]]
    change = (error[other] - error[one]) / steps(target, pairs).repeat_interleave(counts)[:, None]
    known = torch.where(change.isnan(), 0.0, change)
    lengths = (known.square().sum(dim=1) + SOFTENING).sqrt()
    found = pair_means(target, pairs, lengths)
    return found.new_zeros(len(target)).index_add(0, pairs[:, 0], found)


def labelled(target: Structures) -> Bool[Tensor, " B"]:
    """Return which structures [B] are the first of a pair with forces."""
    return first_of_pairs(target, "forces")
