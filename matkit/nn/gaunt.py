"""Powers of a signal on the sphere in the place of MACE's symmetric contraction."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps, format_irreps
from matkit.nn.products import exact_points
from matkit.nn.sphere import Sphere


class GauntContraction(nn.Module):
    """Weigh the components of the first powers of every channel's signal on the sphere.

    ``B_l = sum over orders n of w_zn (A^n)_l`` for every channel of an atom of species z (Luo et
    al. 2024, https://arxiv.org/abs/2401.10216). It has one weight per order and degree
    where `SymmetricContraction` has one per path, and only couplings with an even sum of degrees.
    Points of the sphere are as many as make the powers exact.

    Args:
        irreps_in: Irreps of degrees 0, 1, ... in this order with parity (-1)^l, all with the same
            number of channels.
        irreps_out: Irreps among those, with that number of channels too.
        correlation: Highest power.
        n_species: Number of species.

    Attributes:
        weights: Of every order, beginning with the first [species, irreps out, channels].

    Raises:
        ConfigError: irreps are others than those, or no rule for the sphere is fine enough.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, correlation: int, n_species: int
    ) -> None:
        super().__init__()
        natural = [(degree, (-1) ** degree) for degree in range(len(irreps_in))]
        kinds = [irrep.kind for irrep in irreps_in]
        inside = {irrep.kind for irrep in irreps_out} <= set(kinds)
        same = len({irrep.channels for irrep in irreps_in + irreps_out}) == 1
        if kinds != natural or not inside or not same:
            raise ConfigError(
                f"Powers on a sphere need irreps 0e, 1o, 2e, ... with equal channels and make some "
                f"of them, got {format_irreps(irreps_in)} and {format_irreps(irreps_out)}."
            )
        if correlation < 1:
            raise ConfigError(f"Expected a correlation of at least 1, got {correlation}.")
        lmax, self.degrees = len(irreps_in) - 1, [irrep.l for irrep in irreps_out]
        needed = correlation * lmax + max(self.degrees)
        self.sphere = Sphere(lmax, exact_points(max(needed, 2 * lmax)))
        shape = (n_species, len(irreps_out), irreps_in[0].channels)
        self.weights = nn.ParameterList(torch.randn(shape) for _ in range(correlation))

    def forward(self, x: Features, index: Int[Tensor, " N"]) -> Features:
        """Return the contracted features [N, 2l + 1, channels] of every output irrep.

        Args:
            x: Features per irrep [N, 2l + 1, channels].
            index: Index of each atom's species [N].
        """
        values = self.sphere.synthesis(x)
        power = torch.ones_like(values)
        found = [torch.zeros_like(x[degree]) for degree in self.degrees]
        for weight in self.weights:
            power = power * values
            parts, scale = self.sphere.analysis(power), weight[index].unsqueeze(2)
            found = [
                old + parts[degree] * scale[:, i]
                for i, (old, degree) in enumerate(zip(found, self.degrees, strict=True))
            ]
        return tuple(found)
