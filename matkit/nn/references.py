"""Reference energies: the one module in which every energy network has its unit and zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class References(nn.Module):
    """Atomic energies ``E_i = scale[z_i] x_i + shift[z_i]``, summed up in float64 afterwards.

    They begin as ``E_i = x_i``; training takes them from the data, and they are not trained.

    Args:
        n_species: Number of species.

    Attributes:
        scale: Energy unit of each species [S], eV.
        shift: Reference energy of each species [S], eV.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, n_species: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(n_species, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(n_species, dtype=torch.float64))

    def set(self, *, scale: Sequence[float] | None = None, shift: Sequence[float]) -> None:
        """Take the values of the data, one for each species in the network's order, in eV."""
        self.shift.copy_(torch.as_tensor(shift, dtype=torch.float64))
        if scale is not None:
            self.scale.copy_(torch.as_tensor(scale, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> References:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        scale, shift = self.scale, self.shift
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scale, self.shift = scale.to(self.scale.device), shift.to(self.shift.device)
        return self

    def forward(self, x: Float[Tensor, " N"], index: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Return energies [N] in eV, float64.

        Args:
            x: Output of the network [N], in units of the scale.
            index: Index of each atom's species [N].
        """
        return x.double() * self.scale[index] + self.shift[index]


def references_of(network: nn.Module) -> References | None:
    """Return the reference energies of a network, wherever inside they are; None if it has none."""
    return next((m for m in network.modules() if isinstance(m, References)), None)
