"""Layers of messages for a head alone, on top of a network's features."""

from __future__ import annotations

from math import sqrt

from torch import nn

from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.interaction import ResidualInteraction
from matkit.nn.irreps import Irreps, spherical_harmonics
from matkit.nn.kernels import Convolution
from matkit.nn.mixing import EquivariantNorm, GateMixer
from matkit.nn.radial import BesselBasis, polynomial_envelope


class FurtherLayers(nn.Module):
    """Layers on top of features that are there already, which begin as the identity.

    Args:
        irreps: Irreps of the features, even scalars first.
        lmax: Highest degree of the spherical harmonics.
        natural_parity: Whether harmonics have parity (-1)^l.
        cutoff: Longest edge, Å.
        count: Number of layers.
        basis_size: Number of radial functions.
        radial_hidden: Hidden size of the radial maps.
        neighbor_norm: Sums over neighbours are divided by this.
    """

    def __init__(
        self,
        irreps: Irreps,
        lmax: int,
        natural_parity: bool,
        cutoff: float,
        count: int,
        basis_size: int = 8,
        radial_hidden: int = 32,
        neighbor_norm: float = 5.0,
    ) -> None:
        super().__init__()
        self.lmax, self.cutoff = lmax, cutoff
        self.basis = BesselBasis(cutoff, basis_size)
        self.layers = nn.ModuleList()
        for _ in range(count):
            mixer, norm = GateMixer(irreps), EquivariantNorm(irreps, 0.0)
            convolution = Convolution(irreps, lmax, mixer.irreps_in, natural_parity)
            widths = (basis_size, radial_hidden)
            layer = ResidualInteraction(convolution, mixer, norm, widths, neighbor_norm)
            self.layers.append(layer)

    def forward(self, x: Features, graph: Graph) -> Features:
        """Return features [N, 2l + 1, channels] per irrep, of the same irreps."""
        vectors = graph.vectors
        lengths = vectors.norm(dim=1)
        harmonics = spherical_harmonics(self.lmax, vectors / lengths.unsqueeze(1)).to(x[0])
        # Bessel functions are normalised over the sphere; this makes their mean square one.
        envelope = polynomial_envelope(lengths, self.cutoff) * (self.cutoff**2 / sqrt(6))
        basis = (self.basis(lengths) * envelope.unsqueeze(1)).to(x[0])
        for layer in self.layers:
            x = layer(x, graph.species, basis, harmonics, graph)
        return x
