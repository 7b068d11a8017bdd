"""A layer of MACE for inference: messages, density, products, self-connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.frozen.channels import FrozenIdentity, FrozenLinear
from matkit.nn.frozen.contraction import FrozenContraction
from matkit.nn.frozen.contracts import (
    ChannelMap,
    EdgeData,
    FeatureGradient,
    SpeciesMap,
    Tape,
    Workspace,
)
from matkit.nn.frozen.interaction import FrozenInteraction, capturing
from matkit.nn.frozen.radial_table import RadialTable
from matkit.nn.frozen.recording import RecordedNetwork, Reverse
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.paths import Coupling, Layout
from matkit.nn.kernels.quotients import quotient_entry
from matkit.nn.radial_functions import Radial


@dataclass(frozen=True)
class FrozenPair:
    """Two linear maps one after the other."""

    first: FrozenLinear
    second: FrozenLinear

    def forward(self, x: Features, index: Tensor) -> list[Tensor]:
        """Return mixed features."""
        return self.second.forward(tuple(self.first.forward(x, index)), index)

    def backward(self, g: Sequence[Tensor], index: Tensor, into: FeatureGradient) -> None:
        """Add the derivative by the input to `into`."""
        between = FeatureGradient.zero(len(g))
        self.second.backward(g, index, between)
        self.first.backward(between.whole(), index, into)

    def record(
        self, recording: RecordedNetwork, x: Features, into: Mapping[int, Tensor]
    ) -> Features:
        """Record both maps; return the result of every output irrep."""
        return self.second.record(recording, self.first.record(recording, x, {}), into)

    def record_back(
        self, recording: RecordedNetwork, g: Sequence[Tensor], into: dict[int, Tensor]
    ) -> None:
        """Record the derivative by every input irrep, added to what is in `into`."""
        between: dict[int, Tensor] = {}
        self.second.record_back(recording, g, between)
        self.first.record_back(recording, [between[k] for k in range(len(g))], into)


@dataclass(frozen=True)
class FrozenNothing:
    """A function of single atoms that changes nothing."""

    def forward(self, x: Features) -> Features:
        """Return the features."""
        return x

    def backward(self, x: Features, g: Features) -> Features:
        """Return `g`."""
        return g

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Return the features."""
        return x

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Return `g`."""
        return g


def frozen_messages(
    layout: Layout,
    linear_in: ChannelMap,
    linear_out: ChannelMap,
    radial: Radial,
    table: RadialTable | None,
) -> FrozenInteraction:
    """Return a layer that only sends messages and mixes them; see `FrozenInteraction`."""
    none = FrozenLinear((), (), ())
    return FrozenInteraction(
        layout, linear_in, linear_out, none, (), FrozenNothing(), radial, table
    )


def density_layout(lmax: int) -> Layout:
    """Return the layout of a sum over neighbours of one function of the length."""
    return Layout(((0, 1),), ((0, 1),), lmax, (Coupling(0, 0, 0, 1),))


@dataclass(frozen=True)
class FrozenDensity:
    """One plus the density of neighbours, a sum of functions of the length.

    Attributes:
        messages: Sends a one along every edge, times the function.
    """

    messages: FrozenInteraction

    @classmethod
    def of(cls, lmax: int, radial: Radial, table: RadialTable | None) -> FrozenDensity:
        """Freeze a function of the length, given the degree of the harmonics next to it."""
        nothing = FrozenIdentity()
        return cls(frozen_messages(density_layout(lmax), nothing, nothing, radial, table))

    def forward(self, data: EdgeData) -> tuple[Tensor, Tape]:
        """Return one plus the density [N, 1, 1], and what the way back needs."""
        ones = data.harmonics.new_ones(len(data.species), 1, 1)
        (density,), tape = self.messages.forward((ones,), data)
        return 1 + density, tape

    def backward(
        self, g: Tensor, tape: Tape, data: EdgeData, space: Workspace
    ) -> tuple[Tensor, Tensor]:
        """Return derivatives by the harmonics and the lengths, given that by the value."""
        _, by_harmonics, by_lengths = self.messages.backward((g,), tape, data, space, first=True)
        return by_harmonics, by_lengths

    def record(self, recording: RecordedNetwork, x: Features) -> tuple[Features, Reverse]:
        """Record the quotient of features and one plus the density; return it and its way back."""
        ones = torch.ones(len(recording.species), 1, 1, dtype=recording.dtype)
        (density,), density_back = self.messages.record(recording, (ones,), first=True)
        sizes = tuple(part.shape[1] * part.shape[2] for part in x)
        entries = [quotient_entry(SCALARS[recording.dtype], sizes, back) for back in (False, True)]
        out = tuple(map(torch.empty_like, x))
        recording.launch(entries[0], [density, *x, *out])

        def back(g: Features) -> Features:
            by_x, by_density = tuple(map(torch.empty_like, x)), torch.empty_like(density)
            recording.launch(entries[1], [density, *out, *g, *by_x, by_density])
            density_back((by_density,))
            return by_x

        return out, back


@dataclass(frozen=True)
class FrozenMACELayer:
    """A trained layer.

    Attributes:
        messages: Linear, convolution, linear.
        density: What their sum is divided by besides, if anything.
        contraction: Products of the sum.
        linear_product: After the products.
        self_connection: Of the layer's input, added to the products; None if there is none.
        places: Irreps of the output that it is added to.
    """

    messages: FrozenInteraction
    density: FrozenDensity | None
    contraction: SpeciesMap
    linear_product: FrozenLinear
    self_connection: FrozenLinear | None
    places: tuple[int, ...]

    def covers(self, lengths: Tensor) -> bool:
        """Return whether the layer can be used for edges of these arguments [E]; 0 says no."""
        if not capturing(lengths) and not bool((lengths > 0).all()):
            return False
        others = [] if self.density is None else [self.density.messages]
        return all(part.covers(lengths) for part in (self.messages, *others))

    def forward(self, x: Features, data: EdgeData) -> tuple[Features, Tape]:
        """Return the features of the next layer, and what the way back needs."""
        mixed, (sent, _) = self.messages.forward(x, data)
        if self.density is not None:
            norm, _ = self.density.forward(data)
            mixed = tuple(part / norm for part in mixed)
        products = tuple(self.contraction.forward(mixed, data.species))
        result = self.linear_product.forward(products, data.species)
        if self.self_connection is not None:
            connection = self.self_connection.forward(x, data.species)
            for place, added in zip(self.places, connection, strict=True):
                result[place].add_(added)
        return tuple(result), Tape(sent, mixed)

    def backward(
        self, g: Features, tape: Tape, data: EdgeData, space: Workspace, first: bool
    ) -> tuple[Features, Tensor, Tensor]:
        """Return derivatives by the input features, the harmonics and the lengths."""
        by_products = FeatureGradient.zero(len(g))
        self.linear_product.backward(g, data.species, by_products)
        by_mixed = tuple(self.contraction.backward(tape.mixed, by_products.whole(), data.species))
        by_norm: tuple[Tensor, Tensor] | None = None
        if self.density is not None:
            by_mixed, by_norm = self._through_density(self.density, by_mixed, tape, data, space)
        by_input, by_harmonics, by_lengths = self.messages.backward(
            by_mixed, tape, data, space, first
        )
        if by_norm is not None:
            by_harmonics, by_lengths = by_harmonics + by_norm[0], by_lengths + by_norm[1]
        if self.self_connection is not None and not first:
            into = FeatureGradient(list(by_input))
            self.self_connection.backward([g[place] for place in self.places], data.species, into)
            by_input = into.whole()
        return by_input, by_harmonics, by_lengths

    @property
    def recordable(self) -> bool:
        """Whether all parts of the layer can be recorded."""
        products = isinstance(self.contraction, FrozenContraction) and self.contraction.compiled
        density = self.density is None or self.density.messages.recordable
        return products and density and self.messages.recordable

    def record(
        self, recording: RecordedNetwork, x: Features, first: bool
    ) -> tuple[Features, Reverse]:
        """Record the layer; return its result and what records the way back."""
        contraction = cast(FrozenContraction, self.contraction)
        mixed, messages_back = self.messages.record(recording, x, first)
        density_back: Reverse | None = None
        if self.density is not None:
            mixed, density_back = self.density.record(recording, mixed)
        products = contraction.record(recording, mixed)
        result = self.linear_product.record(recording, products, {})
        if self.self_connection is not None:
            sums = {i: result[place] for i, place in enumerate(self.places)}
            self.self_connection.record(recording, x, sums)

        def back(g: Features) -> Features:
            by_products: dict[int, Tensor] = {}
            self.linear_product.record_back(recording, g, by_products)
            arriving = tuple(by_products[k] for k in range(len(products)))
            by_mixed = contraction.record_back(recording, mixed, arriving)
            if density_back is not None:
                by_mixed = density_back(by_mixed)
            into = dict(enumerate(messages_back(by_mixed)))
            if self.self_connection is not None and not first:
                connected = [g[place] for place in self.places]
                self.self_connection.record_back(recording, connected, into)
            return tuple(into[k] for k in range(len(into)))

        return result, back

    def _through_density(
        self,
        density: FrozenDensity,
        g: Features,
        tape: Tape,
        data: EdgeData,
        space: Workspace,
    ) -> tuple[Features, tuple[Tensor, Tensor]]:
        """Return the derivative by the messages, and those by harmonics and lengths.

        The density is computed again: to store it, tapes would have to differ.
        """
        norm, own = density.forward(data)
        along = torch.stack(
            [(a * b).sum(dim=(1, 2), keepdim=True) for a, b in zip(g, tape.mixed, strict=True)]
        ).sum(dim=0)
        by_edges = density.backward(-along / norm, own, data, space)
        return tuple(part / norm for part in g), by_edges
