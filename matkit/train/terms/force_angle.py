"""How far the directions of forces are off, whatever their lengths: ``1 - cos(F, F')``."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from matkit.data.dataset import has_label
from matkit.interfaces import Properties
from matkit.structures import Structures

NEEDS = ("forces",)


def loss(prediction: Properties, target: Structures) -> Float[Tensor, " B"]:
    """Return the mean over the atoms of each structure [B]; 0 where all directions are right."""
    label = target.atom["forces"]
    error = 1 - cosine_similarity(prediction["forces"], label.nan_to_num(), dim=1, eps=1e-6)
    known = error.where(label.isfinite().all(dim=1), 0.0)
    return known.new_zeros(len(target)).index_add(0, target.batch, known) / target.n_atoms


def labelled(target: Structures) -> Bool[Tensor, " B"]:
    """Return which structures [B] have forces."""
    return has_label(target, "forces")
