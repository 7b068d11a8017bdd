"""Facet: message passing with linear radial maps, mixed on a spherical grid or by gates.

Each atom carries features of degrees l = 0..lmax. A layer convolves them over the neighbours with
spherical harmonics; the radial weights are a linear map of a trainable basis instead of a network.
What arrives, and the layer's input, are mixed by a small perceptron at every point of a sphere.
The result is normalised and added to the input, scaled by weights that begin at zero, so that every
layer begins as the identity. The scalars of the last layer give the atomic energy.
(Miklaucic et al. 2025, https://arxiv.org/abs/2509.08418.)

Deviations: NequIP's gate is the default in place of the grid: rotations are exact with it, and on
a CPU errors fall faster, since a step of training takes two thirds of the time and inference half;
all neighbours within a radius instead of the k nearest, whose order makes the energy jump; natural
parity and a grid symmetric under inversion, so that mirror images have the same energy; an
envelope with two continuous derivatives; adjacent linear maps are one; the norm is smooth at sites
of high symmetry (see `EquivariantNorm`); scale and shift belong to the atom, so that energies are
extensive; an isolated atom's energy is its shift. Switches: compact splines as the basis, hidden
radial layers, messages scaled by species, repulsion of nuclei, charges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import Properties
from matkit.nn.arguments import check_positive
from matkit.nn.convolutional import ConvolutionalPotential
from matkit.nn.embedding import ChargeEmbedding, SpeciesEmbedding, SpeciesIndex, SpeciesScale
from matkit.nn.equivariant import Features, ScalarMLP
from matkit.nn.frozen.channels import FrozenIdentity, FrozenLinear, FrozenScaledLinear
from matkit.nn.frozen.interaction import FrozenInteraction
from matkit.nn.frozen.passes import LayerGradients
from matkit.nn.frozen.residual import FrozenResidual
from matkit.nn.interaction import ResidualInteraction
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution
from matkit.nn.kernels.fused import Edges
from matkit.nn.layered import check_choice, check_domain, only_last
from matkit.nn.mixing import EquivariantNorm, GateMixer, GridMixer
from matkit.nn.radial import BesselBasis, polynomial_envelope
from matkit.nn.radial_functions import Mixture, Radial
from matkit.nn.references import References
from matkit.nn.repulsion import ZBL, Core
from matkit.nn.splines import CosineSplines
from matkit.nn.training.geometry import RadialBasis
from matkit.nn.training.layers import LayerStep, residual_step

MIXERS = ("grid", "gate")
BASES: dict[str, Callable[[float, int], nn.Module]] = {
    "bessel": BesselBasis,
    "spline": CosineSplines,
}


class Facet(ConvolutionalPotential):
    """Energy network with linear radial maps and residual layers.

    Args:
        species: Atomic numbers, in the order of the embedding's rows.
        irreps: Irreps of the embedding (even scalars) and of the output of every layer, degrees
            in order and parity (-1)^l; what a layer cannot make is refused.
        lmax: Highest degree of the spherical harmonics.
        cutoff: Longest edge, Å.
        mixer: `gate` as in NequIP, or `grid`; layers that end in scalars always have the former.
        grid_channels: Signals on the sphere.
        grid_points: Points of the Lebedev grid. With degrees up to 2, what a layer adds turns with
            the structure to 3e-4 (root mean square) with 110 points, to 2e-5 with 194; inversion
            is exact.
        radial_basis: `bessel` functions with trainable frequencies or compact `spline`s.
        basis_size: Number of radial functions.
        radial_hidden: Hidden sizes of the radial maps; none makes them linear.
        envelope_power: Power p of the polynomial cutoff function of the Bessel basis.
        neighbor_norm: Sums over neighbours are divided by this.
        residual_init: Initial weight of what a layer adds to its input.
        norm_offset: Offset of the norms' mean squares.
        species_scale: Scale the messages by trainable weights of the receiving atom's species, so
            that what two elements have in common is learnt for the pair.
        zbl: Add the repulsion of nuclei at distances that data do not reach; what was learnt there
            can still outweigh it.
        core: Part of the sum of two atoms' covalent radii inside of which the network sees them no
            nearer and screened nuclei repel, instead of `zbl`; bonds are longer than 0.6. None if
            not given.
        charge: Take the total charge of a structure into account.

    Raises:
        ConfigError: an argument is out of range or contradicts another.
    """

    provides = frozenset({"atom_energy", "features"})
    statistics = frozenset({"neighbor_norm"})
    readout: ScalarMLP

    def __init__(
        self,
        species: Sequence[int],
        irreps: Sequence[str] = ("64x0e", *["128x0e+64x1o+32x2e"] * 2, "64x0e"),
        lmax: int = 2,
        cutoff: float = 5.0,
        mixer: str = "gate",
        grid_channels: int = 32,
        grid_points: int = 110,
        radial_basis: str = "bessel",
        basis_size: int = 8,
        radial_hidden: Sequence[int] = (),
        envelope_power: int = 6,
        neighbor_norm: float = 5.0,
        residual_init: float = 0.0,
        norm_offset: float = 1.0,
        species_scale: bool = False,
        zbl: bool = False,
        core: float | None = None,
        charge: bool = False,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        check_positive(neighbor_norm=neighbor_norm)
        check_choice("mixer", mixer, MIXERS)
        check_choice("radial_basis", radial_basis, BASES)
        features = [parse_irreps(text) for text in irreps]
        self.species, self.cutoff, self.lmax = tuple(species), float(cutoff), lmax
        self.radial_basis, self.envelope_power = radial_basis, envelope_power
        self.feature_irreps, self.natural_parity = features[-2:][0], True
        self.index = SpeciesIndex(self.species)
        self.embedding = SpeciesEmbedding(len(species), features[0][0].channels)
        if charge:
            self.conditions = frozenset({"charge"})
            self.of_charge = ChargeEmbedding(features[0][0].channels)
        self.basis = BASES[radial_basis](self.cutoff, basis_size)
        self.interactions = nn.ModuleList()
        for before, after in pairwise(features):
            grid = mixer == "grid" and len(after) > 1
            chosen = GridMixer(after, grid_channels, grid_points) if grid else GateMixer(after)
            convolution = Convolution(before, lmax, chosen.irreps_in, natural_parity=True)
            norm = EquivariantNorm(after, residual_init, norm_offset)
            widths = (basis_size, *radial_hidden)
            by_species = SpeciesScale(len(species), chosen.irreps_in) if species_scale else None
            self.interactions.append(
                ResidualInteraction(convolution, chosen, norm, widths, neighbor_norm, by_species)
            )
        self.readout = ScalarMLP((features[-1][0].channels, 1))
        self.references = References(len(species))
        if zbl and core is not None:
            raise ConfigError("`core` holds the repulsion of `zbl` already; set one of them.")
        self.repulsion = ZBL(self.species, self.cutoff) if zbl else None
        if core is not None:
            self.repulsion = Core(self.species, self.cutoff, core)

    def forward(self, graph: Graph) -> Properties:
        """Return atomic energies [N] in eV and the last layer's scalars as `features`."""
        index = self.index(graph.species)
        # One atom without neighbours for each species that occurs: the zero of its energy.
        kinds, place = self._kinds(index)
        x = self._scalars(graph, torch.cat([index, kinds])).squeeze(1)
        scalars, isolated = x.split([len(index), len(kinds)])
        relative = self.readout(scalars - isolated[place]).squeeze(1)
        energy = self.with_repulsion(self.references(relative, index), graph)
        return Properties(atom_energy=energy, features=scalars)

    def _energy(self, scalars: Sequence[Tensor], index: Tensor) -> tuple[Tensor, LayerGradients]:
        """Return atomic energies [N] and the derivatives of their sum by the scalars."""
        matrix = self._constant("readout", lambda: self.readout.last)
        isolated = self._constant("isolated", self._isolated_scalars)
        relative = ((scalars[-1] - isolated[index]) @ matrix).squeeze(1)
        by_scalars = self.references.scale[index].unsqueeze(1).to(matrix) * matrix.T
        return self.references(relative, index), only_last(scalars, by_scalars.unsqueeze(1))

    def _isolated_scalars(self) -> Tensor:
        """Return the last scalars of single atoms of all species [S, C], for inference."""
        every = torch.arange(len(self.species), device=self.embedding.weight.device)
        x: Features = (self.embedding(every),)
        for interaction in self._interactions():
            x = interaction.without_neighbors(x)
        return x[0].squeeze(1)

    def _kinds(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the species that occur [S] and the place of every atom's among them [N]."""
        if index.is_cuda:  # to count them, the GPU would have to be waited for
            return torch.arange(len(self.species), device=index.device), index
        return torch.unique(index, return_inverse=True)

    def _freeze_layer(self, exact: Facet, here: Facet, t: int) -> FrozenResidual:
        """Return layer `t` for inference."""
        layer = self._interactions()[t]
        linear_out = FrozenLinear.of(layer.linear_out, 1 / layer.neighbor_norm)
        scale = layer.species_scale
        inner = FrozenInteraction(
            layout=layer.convolution.layout,
            linear_in=FrozenIdentity(),
            linear_out=linear_out if scale is None else FrozenScaledLinear(linear_out, scale),
            self_connection=FrozenLinear.of(layer.self_connection),
            places=tuple(layer.places),
            gate=layer.frozen_update(),
            radial=here._radial(t),
            table=self._table(exact._radial(t), t),
        )
        return FrozenResidual(inner, layer.same)

    def _layer_step(self, t: int, edges: Edges, index: Tensor) -> LayerStep | None:
        """Return layer `t` with the derivatives that training needs."""
        return residual_step(self._interactions()[t], edges, first=t == 0)

    def _radial_basis(self) -> RadialBasis | None:
        """Return the radial basis for training, None for splines."""
        if not isinstance(self.basis, BesselBasis):
            return None
        factor = self.basis.prefactor * self._basis_scale
        return RadialBasis(self.basis.frequencies, factor, self.cutoff, self.envelope_power)

    def _radial(self, t: int) -> Mixture:
        """Return the radial weights of layer `t` as a function of the length."""
        radial, basis = self._interactions()[t].radial, self._basis_function()

        def hidden(lengths: Tensor) -> Tensor:
            return radial.hidden(basis(lengths))

        return Mixture(hidden, radial.last.detach())

    def _interactions(self) -> list[ResidualInteraction]:
        return cast(list[ResidualInteraction], list(self.interactions))

    def enveloped_basis(self, lengths: Tensor) -> Tensor:
        """Return the radial basis [E, size], zero from the cutoff on, of order one."""
        return self._basis_function()(lengths)

    def _basis_function(self) -> Radial:
        """Return that basis as a function which holds nothing else of the network."""
        basis, scale = self.basis, self._basis_scale
        if self.radial_basis == "spline":
            return basis
        envelope = partial(polynomial_envelope, cutoff=self.cutoff, power=self.envelope_power)

        def enveloped(lengths: Tensor) -> Tensor:
            values: Tensor = basis(lengths)
            return values * (envelope(lengths) * scale).unsqueeze(1)

        return enveloped

    @property
    def _basis_scale(self) -> float:
        """Bessel functions are normalised over the sphere; this makes their mean square one."""
        return self.cutoff**2 / sqrt(6)
