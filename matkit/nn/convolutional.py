"""Energy networks whose layers are all of one form, with their derivatives for training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.irreps import spherical_harmonics
from matkit.nn.kernels import Convolution
from matkit.nn.kernels.check import check_tangents
from matkit.nn.kernels.fused import Edges, edges_of, with_isolated
from matkit.nn.layered import LayeredPotential
from matkit.nn.training.geometry import GeometryStep, RadialBasis
from matkit.nn.training.layers import LayerStep
from matkit.nn.training.network import Layers, PlainLayers


class ConvolutionalPotential(LayeredPotential):
    """A network whose layers make features of features, species, radial basis and harmonics.

    Where all its layers have a `LayerStep`, training takes their derivatives as they are written
    out there, elsewhere those of autograd.
    """

    @abstractmethod
    def enveloped_basis(self, lengths: Tensor) -> Tensor:
        """Return the radial basis [E, size], zero from the cutoff on, from lengths [E] in Å."""

    def equivariant_features(self, graph: Graph) -> Features:
        """Return the atoms' features before the last layer."""
        vectors, index = self.network_vectors(graph), self.index(graph.species)
        x = self.first_features(graph, index)
        return self._features(x, vectors, index, graph, self.feature_layers)[-1]

    def layer_features(self, graph: Graph) -> list[Features]:
        """Return the embedding and the atoms' features after every layer."""
        vectors, index = self.network_vectors(graph), self.index(graph.species)
        x = self.first_features(graph, index)
        return self._features(x, vectors, index, graph, len(self.interactions))

    def _scalars(self, graph: Graph, index: Tensor) -> Tensor:
        """Return the last layer's scalars [N, 1, channels]; further atoms have no neighbours."""
        vectors, x = self.network_vectors(graph), self.first_features(graph, index)

        def plain(x: Tensor, vectors: Tensor) -> Tensor:
            return self._features(x, vectors, index, graph, len(self.interactions))[-1][0]

        return (self._trained_layers(graph, index, plain) or plain)(x, vectors)

    def _features(
        self, x: Tensor, vectors: Tensor, index: Tensor, graph: Graph, layers: int
    ) -> list[Features]:
        """Return the embedding [N, 1, channels] and the features after each of some layers."""
        lengths = vectors.norm(dim=1)
        basis = self.enveloped_basis(lengths).to(self.dtype)
        harmonics = spherical_harmonics(self.lmax, vectors / lengths.unsqueeze(1)).to(self.dtype)
        features: list[Features] = [(x,)]
        for interaction in self.interactions[:layers]:
            features.append(interaction(features[-1], index, basis, harmonics, graph))
        return features

    def _layer_step(self, t: int, edges: Edges, index: Tensor) -> LayerStep | None:
        """Return layer `t` with the derivatives that training needs, None where it has none.

        Args:
            t: Number of the layer.
            edges: Edges.
            index: Index of each atom's species [N].
        """
        return None

    def _radial_basis(self) -> RadialBasis | None:
        """Return the radial basis of all layers, None if it is not of that kind."""
        return None

    def _trained_layers(
        self, graph: Graph, index: Tensor, plain: Callable[[Tensor, Tensor], Tensor]
    ) -> Layers | None:
        """Return the layers with their derivatives written out, None where they are not.

        Args:
            graph: Edges.
            index: Species of the atoms, and of further ones without neighbours.
            plain: From embedding and edge vectors to the last scalars, by autograd.
        """
        able = self.training and torch.is_grad_enabled() and len(graph.center) > 0
        basis = self._radial_basis()
        if not able or basis is None or torch._C._are_functorch_transforms_active():
            return None
        edges = with_isolated(edges_of(graph), len(index) - len(graph.species))

        def steps() -> tuple[GeometryStep, list[LayerStep]]:
            found = (self._trained_layer(t, edges, index) for t in range(len(self.interactions)))
            return GeometryStep(basis, self.lmax), [step for step in found if step is not None]

        def weights() -> list[Tensor]:
            first, layers = steps()
            return [*first.weights, *(weight for step in layers for weight in step.weights)]

        geometry, layers = steps()
        if len(layers) < len(self.interactions):
            return None
        return Layers(geometry, layers, PlainLayers(self, plain, weights).with_weights)

    def _trained_layer(self, t: int, edges: Edges, index: Tensor) -> LayerStep | None:
        convolution: Convolution = cast(Any, self.interactions[t]).convolution
        weight = self.embedding.weight
        if convolution.choose(weight) != "fused":
            return None
        if not check_tangents(convolution.layout, weight.dtype):
            return None
        return self._layer_step(t, edges, index)
