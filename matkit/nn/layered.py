"""Energy networks made of interaction layers, with their derivative written out for inference."""

from __future__ import annotations

import copy
import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from matkit.elements import SYMBOLS
from matkit.errors import ConfigError, did_you_mean
from matkit.graph import Graph
from matkit.interfaces import AtomDescription, Potential, Properties
from matkit.nn.embedding import ChargeEmbedding, SpeciesEmbedding, SpeciesIndex
from matkit.nn.equivariant import Features
from matkit.nn.frozen.agreement import agrees, probe_species
from matkit.nn.frozen.contracts import EdgeData, FrozenLayer
from matkit.nn.frozen.exact import exact_copy
from matkit.nn.frozen.passes import LayerGradients, passes
from matkit.nn.frozen.radial_table import RadialTable, tabulate
from matkit.nn.frozen.recording import RecordedLayer, RecordedNetwork
from matkit.nn.frozen.table_check import check_table
from matkit.nn.harmonics import harmonics as fused_harmonics
from matkit.nn.harmonics import harmonics_gradient
from matkit.nn.irreps import Irreps
from matkit.nn.kernels import Convolution, backends
from matkit.nn.kernels.fused import edges_of
from matkit.nn.kernels.paths import Layout
from matkit.nn.radial_functions import Radial
from matkit.nn.references import References
from matkit.nn.repulsion import ZBL
from matkit.threads import FEW_EDGES

logger = logging.getLogger(__name__)

Constant = TypeVar("Constant")


class LayeredPotential(Potential):
    """Embedding, interaction layers that convolve over the neighbours, energy of the scalars.

    The last layer makes scalars only. The energy may depend on the scalars of every layer.

    Subclasses set the attributes and define the abstract methods.

    Attributes:
        lmax: Highest degree of the spherical harmonics.
        index: From atomic numbers to rows of the embedding.
        embedding: First features.
        interactions: Layers, each of which has a `convolution`.
        readout: From the scalars to energies.
        references: Unit and zero of the energies of every species.
        feature_irreps: Irreps of `equivariant_features`.
        natural_parity: Whether harmonics have parity (-1)^l.
        whole: Whether it has its last layer and what follows, see `features_only`.
        repulsion: Of nuclei, added to what the network learns; it may hide how near they are.
        of_charge: What the charge of a structure adds to the first features, if anything.
    """

    lmax: int
    feature_irreps: Irreps
    natural_parity: bool
    index: SpeciesIndex
    embedding: SpeciesEmbedding
    interactions: nn.ModuleList
    readout: nn.Module
    references: References

    def __init__(self) -> None:
        super().__init__()
        self._frozen: tuple[Any, list[FrozenLayer]] | None = None
        self._recorded: RecordedNetwork | None = None
        self._constants: dict[str, Any] = {}
        self.repulsion: ZBL | None = None
        self.of_charge: ChargeEmbedding | None = None
        self.whole = True

    @abstractmethod
    def equivariant_features(self, graph: Graph) -> Features:
        """Return the atoms' features before the last layer, which makes scalars of them."""

    @abstractmethod
    def layer_features(self, graph: Graph) -> list[Features]:
        """Return the embedding and the atoms' features after every layer."""

    def first_features(self, graph: Graph, index: Tensor) -> Tensor:
        """Return the features [N, 1, channels] that the first layer is given.

        Args:
            graph: Structures.
            index: Species of their atoms [N], and of further neutral ones.
        """
        x = self.embedding(index)
        if self.of_charge is None:
            return x
        own, further = x.split([len(graph.species), len(index) - len(graph.species)])
        return torch.cat([own + self.of_charge(own, graph), further])

    def describe(self, graph: Graph) -> AtomDescription:
        """Return the scalars of all layers, and the directions before the last one."""
        layers = self.layer_features(graph)
        scalars = torch.cat([features[0].squeeze(1) for features in layers[1:]], dim=1)
        kinds = [irrep.kind for irrep in self.feature_irreps]
        parts = dict(zip(kinds, layers[-2], strict=True))
        odd = -1 if self.natural_parity else 1
        return AtomDescription(scalars, parts.get((1, odd)), parts.get((2, 1)))

    def without_energy(self) -> Self:
        """Return a copy without what makes energies of the scalars."""
        copied = copy.deepcopy(self)
        del copied.readout, copied.references
        return copied

    def features_only(self) -> Self:
        """Return a copy that gives `equivariant_features`, without what comes after them."""
        copied = copy.deepcopy(self)
        copied.whole = False
        del copied.interactions[-1], copied.readout, copied.references
        return copied

    @property
    def feature_layers(self) -> int:
        """Number of layers before `equivariant_features`."""
        return len(self.interactions) - self.whole

    @abstractmethod
    def _freeze_layer(self, exact: Self, here: Self, t: int) -> FrozenLayer:
        """Return a layer for inference.

        Args:
            exact: This network in float64 on the CPU, where tables are made.
            here: The same on the device of this network.
            t: Number of the layer.
        """

    @abstractmethod
    def _energy(self, scalars: Sequence[Tensor], index: Tensor) -> tuple[Tensor, LayerGradients]:
        """Return atomic energies [N] and the derivatives of their sum by the scalars.

        Args:
            scalars: Even scalars of every layer [N, C].
            index: Index of each atom's species [N].
        """

    def _descriptor(self, scalars: Sequence[Tensor]) -> Tensor:
        """Return the `features` of the atoms [N, F], given the scalars of every layer [N, C]."""
        return scalars[-1]

    def _radial_arguments(self, lengths: Tensor, graph: Graph) -> tuple[Tensor, Tensor | None]:
        """Return what the layers' radial functions are functions of [E], if not of the length.

        Args:
            lengths: Lengths [E], Å.
            graph: Edges.

        Returns:
            The arguments, and their derivative by the length, None where it is one.
        """
        return lengths, None

    def _species_in_use(self, graph: Graph) -> tuple[int, ...] | None:
        """Return indices of the species that layers for inference are to be made for.

        Empty if they are the same for all species, None if they cannot be made.
        """
        return ()

    def with_repulsion(self, energy: Tensor, graph: Graph) -> Tensor:
        """Return atomic energies [N] with the repulsion of nuclei, if there is to be one."""
        return energy if self.repulsion is None else energy + self.repulsion(graph)

    def network_vectors(self, graph: Graph) -> Tensor:
        """Return the edge vectors [E, 3] that the network is given."""
        return graph.vectors if self.repulsion is None else self.repulsion.network_vectors(graph)

    def edge_gradient(self, graph: Graph) -> tuple[Properties, Tensor] | None:
        """Return the same as `forward`, with dE/d(edge vector) [E, 3] written out."""
        learned = self._learned_gradient(graph, self.network_vectors(graph).detach())
        if learned is None or self.repulsion is None:
            return learned
        result, by_vectors = learned
        energy, added = self.repulsion.with_gradient(graph)
        result["atom_energy"] = result["atom_energy"] + energy
        return result, self.repulsion.edge_gradient(graph, by_vectors) + added

    def _learned_gradient(
        self, graph: Graph, vectors: Tensor, recorded: bool = True
    ) -> tuple[Properties, Tensor] | None:
        """Return the same without the repulsion, of and by the `network_vectors` [E, 3].

        Args:
            graph: Edges.
            vectors: Edge vectors.
            recorded: Whether the layers may be run as recorded launches.
        """
        layers = self._frozen_layers(graph)
        if not layers:
            return None
        index = self.index(graph.species)
        # Candidates of a neighbour list may be longer than the cutoff; they contribute nothing.
        reach = self.cutoff if graph.cutoff > self.cutoff else math.inf
        lengths, harmonics = fused_harmonics(vectors, self.lmax, self.dtype, reach)
        arguments, slope = self._radial_arguments(lengths.clamp(max=self.cutoff), graph)
        if not all(layer.covers(arguments) for layer in layers):
            return None
        data = EdgeData(edges_of(graph), arguments, harmonics, index)
        with torch.no_grad():
            x: Features = (self.first_features(graph, index),)
            last = partial(self._energy, index=index)
            recording = self._recording(layers, x, data) if recorded else None
            by = recording.passes(x, data, last) if recording else passes(layers, x, data, last)
            by_lengths = by.lengths if slope is None else by.lengths * slope
        gradient = harmonics_gradient(vectors, by_lengths, by.harmonics, reach)
        return Properties(atom_energy=by.energy, features=self._descriptor(by.scalars)), gradient

    def _recording(
        self, layers: list[FrozenLayer], x: Features, data: EdgeData
    ) -> RecordedNetwork | None:
        """Return the layers as recorded launches for few edges, if they can be recorded."""
        if len(data.lengths) >= FEW_EDGES or data.lengths.device.type != "cpu":
            return None
        if self._recorded is None or not self._recorded.fits(layers, data):
            able = [x for x in layers if isinstance(x, RecordedLayer) and x.recordable]
            self._recorded = RecordedNetwork(able, x, data) if len(able) == len(layers) else None
        return self._recorded

    def _frozen_layers(self, graph: Graph) -> list[FrozenLayer]:
        """Return the layers for inference, made anew when a weight has changed."""
        if backends.name_for(graph.device) is None or not len(graph.center):
            return []
        species = self._species_in_use(graph)
        if species is None:
            return []
        weights = [(p.data_ptr(), p._version, p.dtype) for p in _parameters(self)]
        state = (species, weights)
        if self._frozen is None or self._frozen[0] != state:
            self._constants.clear()
            self._frozen = (state, [])
            self._freeze(state)
        return self._frozen[1]

    def _constant(self, name: str, make: Callable[[], Constant]) -> Constant:
        """Return what the weights of frozen layers make, made once for them."""
        if name not in self._constants:
            self._constants[name] = make()
        return cast(Constant, self._constants[name])

    def _freeze(self, state: Any) -> None:
        """Make the layers for inference and keep them if they agree with autograd."""
        known = tuple(self.species[i] for i in state[0]) or self.usable_species
        exact = exact_copy(self, [self.species.index(z) for z in probe_species(known)])
        exact.one_level = frozenset(known)
        for layer in exact.interactions:
            cast(Any, layer).convolution.backend = "reference"
        device = next(self.parameters()).device
        try:
            here = exact if device.type == "cpu" else copy.deepcopy(exact).to(device)
            layers = [self._freeze_layer(exact, here, t) for t in range(len(self.interactions))]
            self._frozen = (state, layers)
            exact.repulsion = None  # next to it, errors of what is learnt would not show
            tolerance = 1e-4 if self.dtype == torch.float32 else 1e-8

            def learned(graph: Graph, recorded: bool) -> tuple[Properties, Tensor] | None:
                return self._learned_gradient(graph, graph.vectors, recorded)

            trusted = all(
                agrees(partial(learned, recorded=recorded), exact, tolerance, device)
                for recorded in (False, True)
            )
            problem = "its self-check failed"
        # Whatever goes wrong in tabulating or compiling, there is a path that works.
        except Exception as error:
            trusted, problem = False, repr(error)
        if not trusted:
            logger.warning("Inference falls back to autograd: %s", problem)
            self._frozen = (state, [])

    def _table(self, radial: Radial, t: int, onset: float | None = None) -> RadialTable | None:
        """Return a table of the weights of layer `t`, None where none can be made or read.

        Args:
            radial: From lengths [n] in Å to weights, in float64 on the CPU.
            t: Number of the layer.
            onset: Where its second derivative jumps, Å.
        """
        convolution: Convolution = cast(Any, self.interactions[t]).convolution
        variables = "xyw" if t else "yw"  # the embedding has no derivative
        make = partial(tabulate, radial, self.cutoff, onset=onset)
        return self._checked_table(make, convolution.layout, variables)

    def _checked_table(
        self, make: Callable[..., RadialTable], layout: Layout, variables: str
    ) -> RadialTable | None:
        """Return a table of the weights of a convolution, None where none can be made or read.

        Args:
            make: Makes it on the CPU, given the type of its numbers as `dtype`.
            layout: Irreps and paths of the convolution.
            variables: What will be differentiated by, as in `fused.gradients`.
        """
        device = self.embedding.weight.device
        name = backends.name_for(device) or "none"
        if not check_table(layout, self.dtype, variables, name, str(device)):
            return None
        try:
            return make(dtype=self.dtype).to(device)
        except ConfigError as error:
            logger.warning("Radial functions are evaluated exactly: %s", error)
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again on demand."""
        return {**self.__dict__, "_frozen": None, "_recorded": None, "_constants": {}}


def _parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return all parameters; the method of the same name takes as long as a layer."""
    modules: list[nn.Module | None] = [network]
    found: list[nn.Parameter | None] = []
    while modules:
        module = modules.pop()
        if module is not None:
            found += module._parameters.values()
            modules += module._modules.values()
    return [parameter for parameter in found if parameter is not None]


def only_last(scalars: Sequence[Tensor], gradient: Tensor) -> LayerGradients:
    """Return the derivatives of an energy that sees the last layer's scalars only.

    Args:
        scalars: Even scalars of every layer [N, C].
        gradient: Derivative by those of the last layer [N, 1, C].
    """
    return [*[None] * (len(scalars) - 1), gradient]


def check_domain(species: Sequence[int], cutoff: float) -> None:
    """Refuse impossible atomic numbers and cutoffs."""
    if not species or len(set(species)) != len(species):
        raise ConfigError(f"Expected distinct atomic numbers in `species`, got {list(species)}.")
    if not all(isinstance(z, Integral) and 0 < z < len(SYMBOLS) for z in species):
        raise ConfigError(f"Expected atomic numbers in `species`, got {list(species)}.")
    if not cutoff > 0:
        raise ConfigError(f"Expected a positive `cutoff` in Å, got {cutoff}.")


def check_choice(name: str, value: str, legal: Iterable[str]) -> None:
    """Refuse a value of the option `name` that is not among the legal ones."""
    if value not in (known := tuple(legal)):
        raise ConfigError(f"Unknown {name} {value!r}.{did_you_mean(value, known)}")
