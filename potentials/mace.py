"""MACE: message passing with products of many bodies (Batatia et al. 2022, NeurIPS 35).

Each atom carries features of degrees l = 0..lmax, all with the same number of channels. A layer
convolves them over the neighbours with spherical harmonics and a radial network (eq. 8), and takes
products of up to `correlation` of the sums, contracted to features again with weights of the atom's
species (eqs. 10 and 11). The scalars of every layer contribute to the atomic energy (eq. 13).

The blocks and their normalisation are those of the released models (Batatia et al. 2023,
https://arxiv.org/abs/2401.00096; Kovács et al. 2025, J. Am. Chem. Soc. 147, 17598), whose weights
`matkit models convert` reads.

Deviations: lengths and harmonics are computed in float64 and then rounded to the network's type;
the repulsion of nuclei is always in float64 and ends at the cutoff if covalent radii reach further.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import Properties
from matkit.nn.arguments import check_positive
from matkit.nn.distances import TRANSFORMS, DistanceTransform
from matkit.nn.embedding import SpeciesEmbedding, SpeciesIndex
from matkit.nn.equivariant import Features
from matkit.nn.frozen.channels import FrozenLinear
from matkit.nn.frozen.contraction import frozen_contraction
from matkit.nn.frozen.interaction import capturing
from matkit.nn.frozen.mace import (
    FrozenDensity,
    FrozenMACELayer,
    FrozenPair,
    density_layout,
    frozen_messages,
)
from matkit.nn.frozen.pair_table import PairSlots, tabulate_pairs
from matkit.nn.frozen.passes import LayerGradients
from matkit.nn.frozen.radial_table import RadialTable, tabulate
from matkit.nn.irreps import Irrep, Irreps, spherical_harmonics
from matkit.nn.kernels import Convolution
from matkit.nn.kernels.paths import Layout
from matkit.nn.layered import LayeredPotential, check_choice, check_domain
from matkit.nn.mace_blocks import (
    CONTRACTIONS,
    INTERACTIONS,
    SCREENING,
    EnvelopedBessel,
    MACELayer,
    Readouts,
)
from matkit.nn.radial_functions import Mixture, Radial
from matkit.nn.references import References
from matkit.nn.repulsion import ZBL

# Kinds of pairs that are tabulated; each takes up to some 30 MB in double precision.
MOST_KINDS = 15
# Most factors of a product.
MOST_CORRELATION = 3


class MACE(LayeredPotential):
    """Energy network of messages and their many-body products.

    Args:
        species: Atomic numbers, in the order of the embedding's rows.
        num_channels: Channels of every degree.
        lmax: Highest degree of the features between layers.
        num_layers: Number of layers.
        correlation: Most factors of a product, 1 to 3; one number, or one for every layer.
        products: `paths` contracts products with a weight for every path; `sphere` takes powers of
            signals on a sphere, which have fewer weights (Gaunt products).
        harmonics_lmax: Highest degree of the spherical harmonics and of the sums of messages.
        cutoff: Longest edge, Å.
        basis_size: Number of Bessel functions.
        envelope_power: Power p of the polynomial cutoff function.
        radial_hidden: Hidden sizes of the radial networks.
        interaction: `residual` adds the layer's input behind the products, `plain` does not; with
            `density` or `density_residual` messages are divided by a learnt density.
        first_interaction: The same of the first layer; an isolated atom has its reference energy
            exactly if it is not residual. That of the others if not given.
        mean_neighbors: Mean number of neighbours, by which sums over them are divided.
        readout_hidden: Size of the hidden layer of the last read-out, 0 for none.
        distance_transform: `agnesi` or `soft`: the radial basis sees lengths in units of the
            atoms' sizes. None if not given.
        zbl: Factor of the repulsion of nuclei inside of covalent radii, which is added to what is
            learnt; None for no repulsion.

    Raises:
        ConfigError: an argument is out of range or contradicts another.
    """

    provides = frozenset({"atom_energy", "features"})
    statistics = frozenset({"mean_neighbors"})
    readout: Readouts

    def __init__(
        self,
        species: Sequence[int],
        num_channels: int = 128,
        lmax: int = 1,
        num_layers: int = 2,
        correlation: int | Sequence[int] = 3,
        products: str = "paths",
        harmonics_lmax: int = 3,
        cutoff: float = 5.0,
        basis_size: int = 8,
        envelope_power: int = 5,
        radial_hidden: Sequence[int] = (64, 64, 64),
        interaction: str = "residual",
        first_interaction: str | None = None,
        mean_neighbors: float = 30.0,
        readout_hidden: int = 16,
        distance_transform: str | None = None,
        zbl: float | None = None,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        check_positive(mean_neighbors=mean_neighbors, envelope_power=envelope_power)
        check_positive(num_channels=num_channels, num_layers=num_layers)
        check_choice("interaction", interaction, INTERACTIONS)
        check_choice("first_interaction", first := first_interaction or interaction, INTERACTIONS)
        if distance_transform is not None:
            check_choice("distance_transform", distance_transform, TRANSFORMS)
        if not 0 <= lmax <= harmonics_lmax:
            raise ConfigError(
                f"Expected 0 <= lmax <= harmonics_lmax, got {lmax} and {harmonics_lmax}."
            )
        check_choice("products", products, CONTRACTIONS)
        factors = _per_layer(correlation, num_layers)
        self.species, self.cutoff, self.lmax = tuple(species), float(cutoff), harmonics_lmax
        self.index = SpeciesIndex(self.species)
        self.embedding = SpeciesEmbedding(len(species), num_channels)
        transform = (
            DistanceTransform(distance_transform, self.species, self.cutoff)
            if distance_transform
            else None
        )
        self.basis = EnvelopedBessel(self.cutoff, basis_size, envelope_power, transform)
        scalars = natural_irreps(num_channels, 0)
        features = [scalars, *[natural_irreps(num_channels, lmax)] * (num_layers - 1), scalars]
        self.feature_irreps, self.natural_parity = features[-2], True
        self.interactions = nn.ModuleList()
        for t, (before, after) in enumerate(pairwise(features)):
            sums = natural_irreps(num_channels, harmonics_lmax)
            convolution = Convolution(before, harmonics_lmax, sums, natural_parity=True)
            kind = INTERACTIONS[interaction if t else first], mean_neighbors
            contraction = partial(CONTRACTIONS[products], correlation=factors[t])
            widths = (basis_size, *radial_hidden)
            self.interactions.append(
                MACELayer(convolution, after, contraction, len(species), widths, kind)
            )
        # For inference with a distance transform: species and kinds of pairs met so far.
        self._in_use: tuple[int, ...] = ()
        self._slots: PairSlots | None = None
        self.readout = Readouts(num_channels, num_layers, readout_hidden)
        self.references = References(len(species))
        if zbl is not None:
            screening = SCREENING._replace(envelope=envelope_power)
            self.repulsion = ZBL(self.species, self.cutoff, screening=screening, strength=zbl)

    def forward(self, graph: Graph) -> Properties:
        """Return atomic energies [N] in eV and the scalars of all layers as `features`."""
        index = self.index(graph.species)
        layers = self._features(graph, index, len(self.interactions))
        scalars = [x[0].squeeze(1) for x in layers[1:]]
        energy = self.references(self.readout(scalars), index)
        features = self._descriptor(scalars)
        return Properties(atom_energy=self.with_repulsion(energy, graph), features=features)

    def equivariant_features(self, graph: Graph) -> Features:
        """Return the atoms' features before the last layer."""
        return self._features(graph, self.index(graph.species), self.feature_layers)[-1]

    def layer_features(self, graph: Graph) -> list[Features]:
        """Return the embedding and the atoms' features after every layer."""
        return self._features(graph, self.index(graph.species), len(self.interactions))

    def _features(self, graph: Graph, index: Tensor, layers: int) -> list[Features]:
        """Return the embedding and the features after each of a number of layers."""
        vectors = self.network_vectors(graph)
        lengths = vectors.norm(dim=1)
        basis = self.basis(lengths, self._kinds(index, graph)).to(self.dtype)
        harmonics = spherical_harmonics(self.lmax, vectors / lengths.unsqueeze(1)).to(self.dtype)

        features: list[Features] = [(self.embedding(index),)]
        for layer in self._layers()[:layers]:
            features.append(layer(features[-1], index, basis, harmonics, graph))
        return features

    def _kinds(self, index: Tensor, graph: Graph) -> Tensor | None:
        """Return the kinds of the edges' pairs [E], if the distance transform needs them."""
        transform = self.basis.transform
        if transform is None:
            return None
        return transform.kind_of(index[graph.center], index[graph.neighbor])

    def _descriptor(self, scalars: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(scalars), dim=1)

    def _energy(self, scalars: Sequence[Tensor], index: Tensor) -> tuple[Tensor, LayerGradients]:
        """Return atomic energies [N] and the derivatives of their sum by the scalars."""
        readouts = self._constant("readouts", self.readout.frozen)
        pairs = [one.with_gradient(x) for one, x in zip(readouts, scalars, strict=True)]
        energies, gradients = zip(*pairs, strict=True)
        scale = self.references.scale[index].unsqueeze(1).to(scalars[0])
        energy = self.references(torch.stack(energies).sum(dim=0), index)
        return energy, [(scale * g).unsqueeze(1) for g in gradients]

    def _species_in_use(self, graph: Graph) -> tuple[int, ...] | None:
        """Return the species met so far if radial functions differ by pairs, few enough of them.

        Tables for others are made when they come, so that results depend on what came before, by
        rounding.
        """
        transform, before = self.basis.transform, self._in_use
        if transform is None or capturing(graph.species):
            return before
        present = set(self.index(graph.species).unique().tolist())
        for chosen in (present | set(before), present):
            kinds = transform.kinds_of(species := sorted(chosen))
            if len(kinds) <= MOST_KINDS:
                if self._slots is None or species != list(before):
                    number = len(transform.sums)
                    self._slots = PairSlots.of(kinds, number, self.cutoff, graph.device)
                    self._in_use = tuple(species)
                return self._in_use
        return None

    def _radial_arguments(self, lengths: Tensor, graph: Graph) -> tuple[Tensor, Tensor | None]:
        """Return the lengths [E], or numbers that say the kind of the pair too, and a slope."""
        kinds = self._kinds(self.index(graph.species), graph)
        if self._slots is None or kinds is None:
            return lengths, None
        return self._slots.code(lengths, kinds)

    def _freeze_layer(self, exact: MACE, here: MACE, t: int) -> FrozenMACELayer:
        """Return layer `t` for inference."""
        layer = self._layers()[t]
        divisor = layer.mean_neighbors if layer.density is None else 1.0
        linear_out = FrozenLinear.of(layer.linear_out, 1 / divisor)
        connection = FrozenLinear.of(layer.self_connection)
        layout, variables = layer.convolution.layout, "xyw" if t else "yw"
        messages = frozen_messages(
            layout,
            FrozenLinear.of(layer.linear_in),
            linear_out if layer.residual else FrozenPair(linear_out, connection),
            here._radial(t),
            self._tabulated(exact._radial(t), layout, variables),
        )
        return FrozenMACELayer(
            messages,
            self._frozen_density(exact, here, t),
            frozen_contraction(layer.contraction),
            FrozenLinear.of(layer.linear_product),
            connection if layer.residual else None,
            tuple(layer.places),
        )

    def _frozen_density(self, exact: MACE, here: MACE, t: int) -> FrozenDensity | None:
        """Return the density of layer `t` for inference, if it has one."""
        if self._layers()[t].density is None:
            return None
        table = self._tabulated(exact._edge_density(t), density_layout(self.lmax), "yw")
        return FrozenDensity.of(self.lmax, here._edge_density(t), table)

    def _tabulated(self, radial: Radial, layout: Layout, variables: str) -> RadialTable | None:
        """Return a table of functions of `_radial_arguments`, if one can be made and read."""
        slots = self._slots
        if slots is None:
            return self._checked_table(partial(tabulate, radial, self.cutoff), layout, variables)
        functions = [slots.of_kind(radial, place) for place in range(len(slots.kinds))]
        return self._checked_table(partial(tabulate_pairs, functions, slots), layout, variables)

    def _radial(self, t: int) -> Mixture:
        """Return the radial weights of layer `t` as a function of `_radial_arguments`."""
        radial, basis = self._layers()[t].radial, self._basis_function()

        def hidden(arguments: Tensor) -> Tensor:
            return radial.hidden(basis(arguments))

        return Mixture(hidden, radial.last.detach())

    def _edge_density(self, t: int) -> Radial:
        """Return what an edge adds to the density of layer `t`, likewise."""
        density, basis = self._layers()[t].density, self._basis_function()
        assert density is not None

        def added(arguments: Tensor) -> Tensor:
            return density.of_edges(basis(arguments))

        return added

    def _basis_function(self) -> Radial:
        """Return the radial basis as such a function; it holds nothing else of the network."""
        basis, slots = self.basis, self._slots

        def of_arguments(arguments: Tensor) -> Tensor:
            lengths, kinds = (arguments, None) if slots is None else slots.decode(arguments)
            values: Tensor = basis(lengths, kinds)
            return values

        return of_arguments

    def _layers(self) -> list[MACELayer]:
        return cast(list[MACELayer], list(self.interactions))


def natural_irreps(channels: int, lmax: int) -> Irreps:
    """Return irreps of degrees 0..lmax and parity (-1)^l with equal channels."""
    return tuple(Irrep(channels, degree, (-1) ** degree) for degree in range(lmax + 1))


def _per_layer(correlation: int | Sequence[int], layers: int) -> list[int]:
    """Return the most factors of a product in every layer."""
    factors = [correlation] * layers if isinstance(correlation, int) else list(correlation)
    if len(factors) != layers or not all(1 <= factor <= MOST_CORRELATION for factor in factors):
        raise ConfigError(
            f"Expected as `correlation` a number from 1 to {MOST_CORRELATION}, or one for each of "
            f"{layers} layers, got {correlation}."
        )
    return factors
