"""Transforms of the edge length by the size of the two atoms, so that bonds look alike.

A transform needs the sum of two covalent radii beside the length. Pairs of equal sums are one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import ConfigError

# Curium, the last element with a covalent radius (Cordero et al. 2008).
LAST = 96
# Of Agnesi's curve: exponents and prefactor of Witt et al. 2023, J. Chem. Phys. 159, 164101.
AGNESI_Q, AGNESI_P, AGNESI_A = 0.9183, 4.5791, 1.0805
# Steepness of the soft transform.
SOFT_ALPHA = 4.0

TransformFunction = Callable[[Tensor, Tensor], Tensor]


def agnesi(lengths: Float[Tensor, " E"], radii_sum: Float[Tensor, " E"]) -> Float[Tensor, " E"]:
    """Return ``1 / (1 + a x^q / (1 + x^(q - p)))`` with ``x = 2 r / (sum of radii)``."""
    # Where atoms coincide, powers below one have no derivative.
    x = (2 * lengths / radii_sum).clamp(min=1e-6)
    return 1 / (1 + AGNESI_A * x**AGNESI_Q / (1 + x ** (AGNESI_Q - AGNESI_P)))


def soft(lengths: Float[Tensor, " E"], radii_sum: Float[Tensor, " E"]) -> Float[Tensor, " E"]:
    """Return the length, which ends smoothly at 3/4 of the sum of radii.

    The step is a hyperbolic tangent between 3/4 and 4/3 of the sum.
    """
    low, high = 0.75 * radii_sum, 4 / 3 * radii_sum
    step = 0.5 * (1 + torch.tanh(SOFT_ALPHA / (high - low) * (lengths - 0.5 * (low + high))))
    return low + (lengths - low) * step


TRANSFORMS: dict[str, TransformFunction] = {"agnesi": agnesi, "soft": soft}


class DistanceTransform(nn.Module):
    """Transform of lengths by the covalent radii of both ends.

    Args:
        name: `agnesi` or `soft`.
        species: Atomic numbers in the network's order.
        cutoff: Longest edge, Å.

    Raises:
        ConfigError: the covalent radius of an element is not known.
    """

    kinds: Tensor
    sums: Tensor

    def __init__(self, name: str, species: Sequence[int], cutoff: float) -> None:
        super().__init__()
        if unknown := [z for z in species if z > LAST]:
            raise ConfigError(
                f"The distance transform needs covalent radii, and {format_species(unknown)} has "
                "none. Leave out the transform, or the element."
            )
        self.function, self.cutoff = TRANSFORMS[name], cutoff
        radii = torch.tensor(covalent_radii)[list(species)]
        # Rounded, so that sums in either order are one kind.
        sums = (radii.unsqueeze(0) + radii.unsqueeze(1)).mul(1e4).round().div(1e4)
        values, kinds = torch.unique(sums, return_inverse=True)
        self.register_buffer("sums", values, persistent=False)
        self.register_buffer("kinds", kinds, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DistanceTransform:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        sums = self.sums
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.sums = sums.to(self.sums.device)
        return self

    def forward(
        self, lengths: Float[Tensor, " E"], kinds: Int[Tensor, " E"]
    ) -> Float[Tensor, " E"]:
        """Return transformed lengths [E].

        Args:
            lengths: Lengths, Å.
            kinds: From `kind_of`.
        """
        return self.function(lengths, self.sums[kinds])

    def kind_of(self, one: Int[Tensor, " E"], other: Int[Tensor, " E"]) -> Int[Tensor, " E"]:
        """Return the kinds of pairs, from the indices of both ends' species."""
        return self.kinds[one, other]

    def kinds_of(self, species: Sequence[int]) -> list[int]:
        """Return the kinds of all pairs of some species, given by index."""
        rows = self.kinds[list(species)][:, list(species)]
        found: list[int] = rows.unique().tolist()
        return found
