"""NequIP: E(3)-equivariant message passing (Batzner et al. 2022, Nat. Commun. 13, 2453).

Each atom carries features of degrees l = 0..lmax. A layer mixes channels, convolves them over
the neighbours with spherical harmonics and a radial network (eq. 6), mixes channels again, adds
a self-connection of its input and applies a gate; the scalars of the last layer give the atomic
energy.

Deviations: lengths and harmonics are computed in float64 and then rounded to the network's
type. Switches: `natural_parity=False`, `self_connection="linear"`, `envelope="xplor"` and a
read-out without activation make this SevenNet (Park et al. 2024, J. Chem. Theory Comput. 20,
4857), whose released weights it reproduces. Inside of a `core` nuclei repel, whatever was learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from torch import Tensor, nn

from matkit.graph import Graph
from matkit.interfaces import Properties
from matkit.nn.arguments import check_positive
from matkit.nn.convolutional import ConvolutionalPotential
from matkit.nn.embedding import SpeciesEmbedding, SpeciesIndex
from matkit.nn.equivariant import Features, Gate, Linear, ScalarMLP
from matkit.nn.frozen.channels import FrozenLinear
from matkit.nn.frozen.interaction import FrozenInteraction
from matkit.nn.frozen.nodes import FrozenGate
from matkit.nn.frozen.passes import LayerGradients
from matkit.nn.frozen.readout import FrozenReadout
from matkit.nn.irreps import Irreps, parse_irreps
from matkit.nn.kernels import Convolution
from matkit.nn.kernels.fused import Edges
from matkit.nn.layered import check_choice, check_domain, only_last
from matkit.nn.radial import BesselBasis, polynomial_envelope, xplor_envelope
from matkit.nn.radial_functions import Mixture, Radial
from matkit.nn.references import References
from matkit.nn.repulsion import Core
from matkit.nn.training.gated import gated_step
from matkit.nn.training.geometry import RadialBasis
from matkit.nn.training.layers import LayerStep

ENVELOPES = ("polynomial", "xplor")
SELF_CONNECTIONS = ("linear", "species")


class Interaction(nn.Module):
    """One layer: linear, convolution, linear, plus self-connection, gate.

    Args:
        convolution: How neighbours' features are coupled with the harmonics.
        irreps_out: Irreps of the output features.
        radial_widths: Input and hidden sizes of the radial network.
        neighbor_norm: Number the sum over neighbours is divided by.
        n_species: Number of species if the self-connection depends on it, else 0.
    """

    def __init__(
        self,
        convolution: Convolution,
        irreps_out: Irreps,
        radial_widths: tuple[int, ...],
        neighbor_norm: float,
        n_species: int,
    ) -> None:
        super().__init__()
        irreps_in = convolution.irreps_in
        self.gate = Gate(irreps_out)
        inputs = {irrep.kind for irrep in irreps_in}
        self.places = [i for i, irrep in enumerate(self.gate.irreps_in) if irrep.kind in inputs]
        connected = tuple(self.gate.irreps_in[i] for i in self.places)
        self.self_connection = Linear(irreps_in, connected, n_species)
        self.linear_in = Linear(irreps_in, irreps_in)
        self.radial = ScalarMLP((*radial_widths, convolution.weight_numel))
        self.convolution = convolution
        self.neighbor_norm = neighbor_norm
        self.linear_out = Linear(convolution.irreps_out, self.gate.irreps_in)
        self.by_species = n_species > 0

    def forward(
        self, x: Features, index: Tensor, basis: Tensor, harmonics: Tensor, graph: Graph
    ) -> Features:
        """Return the features of the next layer [N, 2l + 1, channels] per irrep."""
        connection = self.self_connection(x, index if self.by_species else None)
        messages = self.convolution(self.linear_in(x), harmonics, self.radial(basis), graph)
        mixed = list(self.linear_out(tuple(m / self.neighbor_norm for m in messages)))
        for place, added in zip(self.places, connection, strict=True):
            mixed[place] = mixed[place] + added
        return self.gate(tuple(mixed))


class NequIP(ConvolutionalPotential):
    """E(3)-equivariant energy network.

    Args:
        species: Atomic numbers, in the order of the embedding's rows.
        irreps: Irreps of the embedding (even scalars) and of the output of every layer;
            what a layer cannot make is left out.
        lmax: Highest degree of the spherical harmonics.
        cutoff: Longest edge, Å.
        natural_parity: Harmonics have parity (-1)^l (reflections are told apart, O(3)); else
            all are even (SO(3) only).
        basis_size: Number of Bessel functions.
        radial_hidden: Hidden sizes of the radial networks.
        envelope: Cutoff function, `polynomial` (C2) or `xplor` (C1).
        envelope_power: Power p of the polynomial envelope.
        xplor_onset: Where the XPLOR envelope starts to fall, Å.
        neighbor_norm: Sums over neighbours are divided by this: the root of their mean number
            in the paper, the mean number in SevenNet.
        self_connection: One matrix for all species (`linear`) or one for each (`species`).
        readout_hidden: Size of the read-out's hidden layer, 0 for none.
        readout_activation: Whether that layer is activated.
        core: Part of the sum of two atoms' covalent radii inside of which the network sees them no
            nearer and screened nuclei repel; bonds are longer than 0.6. None if not given.

    Raises:
        ConfigError: an argument is out of range or contradicts another.
    """

    provides = frozenset({"atom_energy", "features"})
    statistics = frozenset({"neighbor_norm"})
    readout: ScalarMLP

    def __init__(
        self,
        species: Sequence[int],
        irreps: Sequence[str] = ("64x0e", *["64x0e+64x1o+64x2e"] * 3, "64x0e"),
        lmax: int = 2,
        cutoff: float = 5.0,
        natural_parity: bool = True,
        basis_size: int = 8,
        radial_hidden: Sequence[int] = (64, 64),
        envelope: str = "polynomial",
        envelope_power: int = 6,
        xplor_onset: float = 4.5,
        neighbor_norm: float = 5.0,
        self_connection: str = "species",
        readout_hidden: int = 32,
        readout_activation: bool = False,
        core: float | None = None,
    ) -> None:
        super().__init__()
        check_domain(species, cutoff)
        check_positive(
            neighbor_norm=neighbor_norm, envelope_power=envelope_power, xplor_onset=xplor_onset
        )
        check_choice("envelope", envelope, ENVELOPES)
        check_choice("self_connection", self_connection, SELF_CONNECTIONS)
        features = [parse_irreps(text) for text in irreps]
        self.species, self.cutoff, self.lmax = tuple(species), float(cutoff), lmax
        self.envelope, self.envelope_power = envelope, envelope_power
        self.xplor_onset = xplor_onset
        self.index = SpeciesIndex(self.species)
        self.embedding = SpeciesEmbedding(len(species), features[0][0].channels)
        self.basis = BesselBasis(cutoff, basis_size)
        n_species = len(species) if self_connection == "species" else 0
        self.interactions = nn.ModuleList()
        for t in range(1, len(features)):
            convolution = Convolution(features[t - 1], lmax, features[t], natural_parity)
            features[t] = _reachable(features[t], convolution.irreps_out)
            radial_widths = (basis_size, *radial_hidden)
            self.interactions.append(
                Interaction(convolution, features[t], radial_widths, neighbor_norm, n_species)
            )
        self.feature_irreps, self.natural_parity = features[-2:][0], natural_parity
        channels = features[-1][0].channels
        hidden = (readout_hidden,) if readout_hidden else ()
        self.readout = ScalarMLP((channels, *hidden, 1), readout_activation)
        self.references = References(len(species))
        self.repulsion = None if core is None else Core(self.species, self.cutoff, core)

    def forward(self, graph: Graph) -> Properties:
        """Return atomic energies [N] in eV and the last layer's scalars as `features`."""
        index = self.index(graph.species)
        scalars = self._scalars(graph, index).squeeze(1)
        energy = self.references(self.readout(scalars).squeeze(1), index)
        return Properties(atom_energy=self.with_repulsion(energy, graph), features=scalars)

    def _energy(self, scalars: Sequence[Tensor], index: Tensor) -> tuple[Tensor, LayerGradients]:
        """Return atomic energies [N] and the derivatives of their sum by the scalars."""
        readout = self._constant("readout", lambda: FrozenReadout.of(self.readout))
        energy, g = readout.with_gradient(scalars[-1])
        g = g * self.references.scale[index].unsqueeze(1).to(g)
        return self.references(energy, index), only_last(scalars, g.unsqueeze(1))

    def _freeze_layer(self, exact: NequIP, here: NequIP, t: int) -> FrozenInteraction:
        """Return layer `t` for inference."""
        layer = self._interactions()[t]
        radial = _frozen_radial(exact, exact._interactions()[t].radial)
        onset = self.xplor_onset if self.envelope == "xplor" else None
        return FrozenInteraction(
            layout=layer.convolution.layout,
            linear_in=FrozenLinear.of(layer.linear_in),
            linear_out=FrozenLinear.of(layer.linear_out, 1 / layer.neighbor_norm),
            self_connection=FrozenLinear.of(layer.self_connection),
            places=tuple(layer.places),
            gate=FrozenGate.of(layer.gate),
            radial=_frozen_radial(here, here._interactions()[t].radial),
            table=self._table(radial, t, onset),
        )

    def _layer_step(self, t: int, edges: Edges, index: Tensor) -> LayerStep | None:
        """Return layer `t` with the derivatives that training needs."""
        return gated_step(self._interactions()[t], edges, index, first=t == 0)

    def _radial_basis(self) -> RadialBasis | None:
        """Return the radial basis for training, None with another envelope."""
        if self.envelope != "polynomial":
            return None
        basis = self.basis
        return RadialBasis(basis.frequencies, basis.prefactor, self.cutoff, self.envelope_power)

    def _interactions(self) -> list[Interaction]:
        return cast(list[Interaction], list(self.interactions))

    def enveloped_basis(self, lengths: Tensor) -> Tensor:
        """Return the radial basis [E, size] times the cutoff function, from lengths [E] in Å."""
        return self.basis(lengths) * self._envelope_function()(lengths).unsqueeze(1)

    def _envelope_function(self) -> Radial:
        if self.envelope == "xplor":
            return partial(xplor_envelope, cutoff=self.cutoff, onset=self.xplor_onset)
        return partial(polynomial_envelope, cutoff=self.cutoff, power=self.envelope_power)


def _frozen_radial(network: NequIP, mlp: ScalarMLP) -> Mixture:
    """Return a layer's radial network as a function of the length; holds nothing else."""
    basis, envelope = network.basis, network._envelope_function()

    def hidden(lengths: Tensor) -> Tensor:
        return mlp.hidden(basis(lengths) * envelope(lengths).unsqueeze(1))

    return Mixture(hidden, mlp.last.detach())


def _reachable(wanted: Irreps, coupled: Irreps) -> Irreps:
    """Leave out irreps that no coupling makes, e.g. pseudoscalars in the first layer."""
    kinds = {irrep.kind for irrep in coupled}
    return tuple(irrep for irrep in wanted if irrep.kind in kinds)
