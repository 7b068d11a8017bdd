"""Fractional coordinates as points of a torus: shortest differences and the straight flow.

Chen & Lipman, ICLR 2024 (Riemannian flow matching), on the flat torus.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def wrap(fractional: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
    """Return coordinates from 0 to 1."""
    return fractional - fractional.floor()


def shortest(difference: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
    """Return the difference to the nearest image, between -1/2 and 1/2 along each axis."""
    return difference - (difference + 0.5).floor()


def mean_free(vectors: Float[Tensor, "B n 3"], mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B n 3"]:
    """Subtract the mean over the atoms of each crystal; zero where there is no atom."""
    real = mask.unsqueeze(2).to(vectors.dtype)
    mean = (vectors * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
    return (vectors - mean) * real


def torus_path(
    start: Float[Tensor, "B n 3"],
    end: Float[Tensor, "B n 3"],
    time: Float[Tensor, " B"],
    mask: Bool[Tensor, "B n"],
) -> tuple[Float[Tensor, "B n 3"], Float[Tensor, "B n 3"]]:
    """Return the point at `time` on the shortest way, and its velocity.

    The crystal as a whole stands still (the velocity is free of its mean), since where the
    origin of a cell lies means nothing; the way ends in `end` up to a common shift.

    Args:
        start: Fractional coordinates at time 0 [B, n, 3].
        end: Fractional coordinates at time 1 [B, n, 3].
        time: One time per crystal [B].
        mask: Which places hold an atom [B, n].

    Returns:
        Fractional coordinates and their derivative by time, both [B, n, 3].
    """
    velocity = mean_free(shortest(end - start), mask)
    return wrap(start + time.view(-1, 1, 1) * velocity), velocity
