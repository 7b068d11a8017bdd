"""Errors per crystal, in which the size of a crystal does not count."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def atom_error(
    predicted: Float[Tensor, "B n c"], target: Float[Tensor, "B n c"], mask: Bool[Tensor, "B n"]
) -> Float[Tensor, " B"]:
    """Return the mean square error over the atoms and components of each crystal [B]."""
    square = (predicted - target).square().mean(dim=2) * mask
    return square.sum(dim=1) / mask.sum(dim=1)


def system_error(
    predicted: Float[Tensor, "B *any"], target: Float[Tensor, "B *any"]
) -> Float[Tensor, " B"]:
    """Return the mean square error over the components of each crystal [B]."""
    return (predicted - target).square().flatten(1).mean(dim=1)
