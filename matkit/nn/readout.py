"""From scalar features to atomic energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class SpeciesScaleShift(nn.Module):
    """Atomic energies ``E_i = scale[z_i] x_i + shift[z_i]``, summed up in float64 afterwards.

    Args:
        scale: Energy unit of each species, eV.
        shift: Reference energy of each species, eV.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpeciesScaleShift:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        scale, shift = self.scale, self.shift
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scale, self.shift = scale.to(self.scale.device), shift.to(self.shift.device)
        return self

    def forward(self, x: Float[Tensor, " N"], index: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Return energies [N] in eV, float64.

        Args:
            x: Dimensionless output of the network [N].
            index: Index of each atom's species [N].
        """
        return x.double() * self.scale[index] + self.shift[index]
