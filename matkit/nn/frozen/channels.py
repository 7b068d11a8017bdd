"""Linear maps of a trained network's channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from matkit.nn.embedding import SpeciesScale
from matkit.nn.equivariant import Features, Linear
from matkit.nn.frozen.contracts import FeatureGradient
from matkit.nn.frozen.recording import RecordedNetwork
from matkit.nn.species_rows import species_product


@dataclass(frozen=True)
class FrozenLinear:
    """A `Linear` with its normalisation multiplied into the weights."""

    source: tuple[int, ...]
    weights: tuple[Tensor, ...]
    by_species: bool

    @classmethod
    def of(cls, linear: Linear, factor: float = 1.0) -> FrozenLinear:
        """Freeze a layer, multiplied by `factor`."""
        weights = tuple(
            (weight.detach() * (scale * factor)).contiguous()
            for weight, scale in zip(linear.weights, linear.scales, strict=True)
        )
        return cls(tuple(linear.source), weights, weights[0].ndim == 3)

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return mixed features."""
        pairs = zip(self.source, self.weights, strict=True)
        if self.by_species:
            return [species_product(x[source], weight, index) for source, weight in pairs]
        return [x[source] @ weight for source, weight in pairs]

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add the derivative by the input to `into`."""
        for source, weight, gradient in zip(self.source, self.weights, g, strict=True):
            if self.by_species:
                into.add(source, species_product(gradient, weight.mT, index))
            else:
                into.add_product(source, gradient, weight.mT)

    def record(
        self, recording: RecordedNetwork, x: Features, into: Mapping[int, Tensor]
    ) -> Features:
        """Record the map; return the result of every output irrep."""
        results = []
        for place, (source, weight) in enumerate(zip(self.source, self.weights, strict=True)):
            n, dim, _ = x[source].shape
            add = place in into
            out = into[place] if add else x[source].new_empty(n, dim, weight.shape[-1])
            recording.product(x[source], weight, out, add)
            results.append(out)
        return tuple(results)

    def record_back(
        self, recording: RecordedNetwork, g: Sequence[Tensor], into: dict[int, Tensor]
    ) -> None:
        """Record the derivative by every input irrep, added to what is in `into`."""
        for source, transposed, gradient in zip(self.source, self._transposed, g, strict=True):
            add = source in into
            if not add:
                n, dim, _ = gradient.shape
                into[source] = gradient.new_empty(n, dim, transposed.shape[-1])
            recording.product(gradient, transposed, into[source], add)

    @cached_property
    def _transposed(self) -> tuple[Tensor, ...]:
        return tuple(weight.mT.contiguous() for weight in self.weights)


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
