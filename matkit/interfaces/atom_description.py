"""What a network knows of atoms before it makes a property of them."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class AtomDescription(NamedTuple):
    """Features of N atoms for a read-out.

    Attributes:
        scalars: Invariant features [N, F].
        vectors: Features that turn as vectors, components x, y, z [N, 3, C]; None if there are
            none.
        tensors: Features that turn as symmetric matrices without trace [N, 5, D], in the order of
            `matkit.nn.irreps.spherical_harmonics`; None if there are none.
    """

    scalars: Float[Tensor, "N F"]
    vectors: Float[Tensor, "N 3 C"] | None = None
    tensors: Float[Tensor, "N 5 D"] | None = None
