"""Linear maps of a trained network's channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from matkit.nn.embedding import SpeciesScale
from matkit.nn.equivariant import Features, Linear
from matkit.nn.frozen.contracts import FeatureGradient
from matkit.nn.frozen.recording import RecordedNetwork
from matkit.nn.species_rows import species_product


@dataclass(frozen=True)
class FrozenLinear:
    """A `Linear` for inference.

    Attributes:
        source: Input irrep of every output irrep.
        weights: Matrices, with the normalisation multiplied in; with one for every species they are
            those of the network, which take most of its memory.
        scales: What is left to multiply by.
    """

    source: tuple[int, ...]
    weights: tuple[Tensor, ...]
    scales: tuple[float, ...]

    @classmethod
    def of(cls, linear: Linear, factor: float = 1.0) -> FrozenLinear:
        """Freeze a layer, multiplied by `factor`."""
        source, scales = tuple(linear.source), tuple(factor * scale for scale in linear.scales)
        weights = tuple(weight.detach() for weight in linear.weights)
        if weights[0].ndim == 3:
            return cls(source, weights, scales)
        pairs = zip(weights, scales, strict=True)
        return cls(source, tuple(weight * scale for weight, scale in pairs), (1.0,) * len(scales))

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return mixed features."""
        return [
            species_product(x[source] * scale, weight, index)
            if weight.ndim == 3
            else x[source] @ weight
            for source, weight, scale in zip(self.source, self.weights, self.scales, strict=True)
        ]

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add the derivative by the input to `into`."""
        terms = zip(self.source, self.weights, self.scales, g, strict=True)
        for source, weight, scale, gradient in terms:
            if weight.ndim == 3:
                into.add(source, species_product(gradient * scale, weight.mT, index))
            else:
                into.add_product(source, gradient, weight.mT)

    def record(
        self, recording: RecordedNetwork, x: Features, into: Mapping[int, Tensor]
    ) -> Features:
        """Record the map; return the result of every output irrep."""
        results = []
        for place, source in enumerate(self.source):
            n, dim, _ = x[source].shape
            add = place in into
            out = into[place] if add else x[source].new_empty(n, dim, self.weights[place].shape[-1])
            recording.product(x[source], self._matrices(recording, place), out, add)
            results.append(out)
        return tuple(results)

    def record_back(
        self, recording: RecordedNetwork, g: Sequence[Tensor], into: dict[int, Tensor]
    ) -> None:
        """Record the derivative by every input irrep, added to what is in `into`."""
        for place, (source, gradient) in enumerate(zip(self.source, g, strict=True)):
            add = source in into
            if not add:
                n, dim, _ = gradient.shape
                into[source] = gradient.new_empty(n, dim, self.weights[place].shape[-2])
            recording.product(gradient, self._matrices(recording, place, True), into[source], add)

    def _matrices(
        self, recording: RecordedNetwork, place: int, transposed: bool = False
    ) -> Tensor | dict[int, Tensor]:
        """Return the matrix of an output irrep, or those of the species that occur."""
        weight = self.weights[place].mT if transposed else self.weights[place]
        if weight.ndim == 2:
            return weight.contiguous()
        scale = self.scales[place]
        return {i: (weight[i] * scale).contiguous() for i in set(recording.species)}


@dataclass(frozen=True)
class FrozenIdentity:
    """A linear map that changes nothing."""

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return the features."""
        return list(x)

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add `g` to `into`."""
        for place, gradient in enumerate(g):
            into.add(place, gradient)

    def record(
        self, recording: RecordedNetwork, x: Features, into: Mapping[int, Tensor]
    ) -> Features:
        """Return the features, added to what there is."""
        for place, total in into.items():
            recording.add(x[place], total)
        return tuple(into.get(place, part) for place, part in enumerate(x))

    def record_back(
        self, recording: RecordedNetwork, g: Sequence[Tensor], into: dict[int, Tensor]
    ) -> None:
        """Add `g` to `into`."""
        for place, gradient in enumerate(g):
            if place in into:
                recording.add(gradient, into[place])
            else:
                into[place] = gradient


@dataclass(frozen=True)
class FrozenScaledLinear:
    """A linear map whose values are scaled by species.

    Attributes:
        linear: The map.
        scale: What its values are multiplied by.
    """

    linear: FrozenLinear
    scale: SpeciesScale

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return mixed and scaled features."""
        return list(self.scale(tuple(self.linear.forward(x, index)), index))

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add the derivative by the input to `into`."""
        self.linear.backward(self.scale(tuple(g), index), index, into)
