"""Blocks of MACE (Batatia et al. 2022): radial basis, layers, read-outs.

Where an equation has more than one published form, the released models' is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.graph import Graph
from matkit.nn.contraction import SymmetricContraction
from matkit.nn.distances import DistanceTransform
from matkit.nn.equivariant import Features, Linear, ScalarMLP
from matkit.nn.frozen.readout import FrozenReadout
from matkit.nn.gaunt import GauntContraction
from matkit.nn.irreps import Irrep, Irreps
from matkit.nn.kernels import Convolution
from matkit.nn.radial import polynomial_envelope
from matkit.nn.repulsion import ScreenedCoulomb
from matkit.nn.scatter import scatter_sum

# Of the released models' repulsion of nuclei, in rounded numbers: the prefactor of its length, and
# the rest; its envelope has the power of the radial basis.
SCREENING_PREFACTOR = 0.4543
SCREENING = ScreenedCoulomb(
    weights=(0.1818, 0.5099, 0.2802, 0.02817),
    exponents=(3.2, 0.9423, 0.4028, 0.2016),
    length=SCREENING_PREFACTOR * 0.529,
    power=0.300,
    coulomb=14.3996,
    envelope=5,
)


class BlockKind(NamedTuple):
    """What tells MACE's interaction blocks from each other.

    Attributes:
        residual: The layer's input is added behind the product, by a matrix of the atom's species;
            else that matrix is applied to the messages.
        density: Messages are divided by one plus a learnt density of neighbours; else by the mean
            number of neighbours.
    """

    residual: bool
    density: bool


INTERACTIONS = {
    "plain": BlockKind(residual=False, density=False),
    "residual": BlockKind(residual=True, density=False),
    "density": BlockKind(residual=False, density=True),
    "density_residual": BlockKind(residual=True, density=True),
}


class EnvelopedBessel(nn.Module):
    """Bessel functions ``√(2 / rc) sin(n π r / rc) / r`` times a polynomial cutoff function.

    With a distance transform the functions see the transformed length, the cutoff function the
    length itself. Frequencies are not trained.

    Args:
        cutoff: Radius rc in Å.
        size: Number of functions.
        power: Power of the cutoff function.
        transform: Transform of the length, if there is one.
    """

    frequencies: Tensor

    def __init__(
        self, cutoff: float, size: int, power: int, transform: DistanceTransform | None
    ) -> None:
        super().__init__()
        self.cutoff, self.power, self.transform = cutoff, power, transform
        self.register_buffer("frequencies", torch.arange(1, size + 1) * (torch.pi / cutoff))

    def forward(
        self, lengths: Float[Tensor, " E"], kinds: Int[Tensor, " E"] | None
    ) -> Float[Tensor, "E basis"]:
        """Return the basis [E, size] in the precision of `lengths` (Å).

        Args:
            lengths: Lengths, Å.
            kinds: Kinds of the pairs, if there is a transform.
        """
        envelope = polynomial_envelope(lengths, self.cutoff, self.power)
        if self.transform is not None and kinds is not None:
            lengths = self.transform(lengths, kinds)
        k = self.frequencies.to(lengths.dtype)
        # sinc keeps value and derivatives finite where two atoms coincide.
        bessel = k * torch.sinc(lengths.unsqueeze(1) * (k / torch.pi))
        return bessel * (sqrt(2 / self.cutoff) * envelope).unsqueeze(1)


# How sums of messages are multiplied: a weight for every path, or powers of a signal on the sphere.
CONTRACTIONS = {"paths": SymmetricContraction, "sphere": GauntContraction}


class Density(nn.Module):
    """Learnt density of neighbours: ``Σ_j tanh((w · basis(r_ij))²)``.

    Args:
        basis_size: Number of radial functions.
    """

    def __init__(self, basis_size: int) -> None:
        super().__init__()
        self.map = ScalarMLP((basis_size, 1))

    def forward(self, basis: Float[Tensor, "E basis"], graph: Graph) -> Float[Tensor, "N 1 1"]:
        """Return the density of every atom [N, 1, 1]."""
        total = scatter_sum(self.of_edges(basis), graph.center, len(graph.species))
        return total.unsqueeze(1)

    def of_edges(self, basis: Float[Tensor, "E basis"]) -> Float[Tensor, "E 1"]:
        """Return what every edge adds [E, 1]."""
        return torch.tanh(self.map(basis).square())


class MACELayer(nn.Module):
    """Messages of the neighbours, then products of their sum with itself.

    Args:
        convolution: How neighbours' features are coupled with the harmonics.
        irreps_out: Irreps of the output.
        contraction: Makes the products, given irreps of sums and of the output and n_species.
        n_species: Number of species.
        radial_widths: Input and hidden sizes of the radial network.
        interaction: Kind of the block, and the mean number of neighbours.
    """

    def __init__(
        self,
        convolution: Convolution,
        irreps_out: Irreps,
        contraction: Callable[..., nn.Module],
        n_species: int,
        radial_widths: tuple[int, ...],
        interaction: tuple[BlockKind, float],
    ) -> None:
        super().__init__()
        kind, self.mean_neighbors = interaction
        irreps_in = convolution.irreps_in
        channels = irreps_in[0].channels
        mixed = tuple(Irrep(channels, i.l, i.p) for i in convolution.irreps_out)
        self.residual = kind.residual
        self.linear_in = Linear(irreps_in, irreps_in)
        self.radial = ScalarMLP((*radial_widths, convolution.weight_numel))
        self.convolution = convolution
        self.density = Density(radial_widths[0]) if kind.density else None
        self.linear_out = Linear(convolution.irreps_out, mixed)
        kinds = {irrep.kind for irrep in irreps_in}
        self.places = [i for i, irrep in enumerate(irreps_out) if irrep.kind in kinds]
        connected = tuple(irreps_out[i] for i in self.places)
        self.self_connection = (
            Linear(irreps_in, connected, n_species)
            if kind.residual
            else Linear(mixed, mixed, n_species)
        )
        self.contraction = contraction(mixed, irreps_out, n_species=n_species)
        self.linear_product = Linear(irreps_out, irreps_out)

    def forward(
        self, x: Features, index: Tensor, basis: Tensor, harmonics: Tensor, graph: Graph
    ) -> Features:
        """Return the features of the next layer [N, 2l + 1, channels] per irrep."""
        messages = self.convolution(self.linear_in(x), harmonics, self.radial(basis), graph)
        mixed = self.linear_out(messages)
        norm = self.mean_neighbors if self.density is None else 1 + self.density(basis, graph)
        mixed = tuple(part / norm for part in mixed)
        if not self.residual:
            mixed = self.self_connection(mixed, index)
        products = list(self.linear_product(self.contraction(mixed, index)))
        if self.residual:
            for place, added in zip(self.places, self.self_connection(x, index), strict=True):
                products[place] = products[place] + added
        return tuple(products)


class Readouts(nn.Module):
    """Energy of the scalars of every layer: a linear map of each, a perceptron of the last.

    Args:
        channels: Scalars of a layer.
        layers: Number of layers.
        hidden: Hidden size of the perceptron, 0 for none.
    """

    def __init__(self, channels: int, layers: int, hidden: int) -> None:
        super().__init__()
        hidden_widths = (hidden,) if hidden else ()
        self.layers = nn.ModuleList(ScalarMLP((channels, 1)) for _ in range(layers - 1))
        self.layers.append(ScalarMLP((channels, *hidden_widths, 1)))

    def forward(self, scalars: Sequence[Float[Tensor, "N channels"]]) -> Float[Tensor, " N"]:
        """Return energies [N] in units of the scale, from the scalars of every layer."""
        parts = [readout(x) for readout, x in zip(self.layers, scalars, strict=True)]
        return torch.stack(parts).sum(dim=0).squeeze(1)

    def frozen(self) -> list[FrozenReadout]:
        """Return the read-outs of all layers for inference."""
        return [FrozenReadout.of(cast(ScalarMLP, layer)) for layer in self.layers]
