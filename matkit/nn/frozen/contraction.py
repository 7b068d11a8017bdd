"""Products of many bodies of a trained network, with their reverse derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from matkit.nn.contraction import SymmetricContraction, can_compile
from matkit.nn.equivariant import Features
from matkit.nn.frozen.contracts import SpeciesMap
from matkit.nn.frozen.nodes import chunks
from matkit.nn.frozen.recording import RecordedNetwork
from matkit.nn.kernels.contraction import check, reference
from matkit.nn.kernels.contraction.coefficients import coefficients
from matkit.nn.kernels.contraction.compiled import kernel_entry, kernel_for
from matkit.nn.kernels.contraction.dispatch import derivative
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.species_rows import SpeciesRows, species_rows


@dataclass(frozen=True)
class FrozenContraction:
    """A `SymmetricContraction` with its reverse derivative.

    Attributes:
        source: The contraction itself, whose weights take a good part of a network's memory.
        table: Coefficients of the species met so far [species, blocks, coefficients, lanes];
            memory is taken for these only.
        known: Indices of those species.
    """

    source: SymmetricContraction
    table: Tensor
    known: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, contraction: SymmetricContraction) -> FrozenContraction:
        """Freeze a contraction."""
        like = next(contraction.parameters()).detach()
        if not can_compile(like):
            return cls(contraction, like.new_empty(0))
        kernel = kernel_for(contraction.layout, like.dtype)
        shape = (len(like), kernel.blocks, kernel.coefficients, kernel.lanes)
        return cls(contraction, like.new_empty(shape))

    def forward(self, x: Features, index: Tensor) -> Features:
        """Return the contracted features [N, 2l + 1, channels] of every output irrep.

        Args:
            x: Features of every input irrep.
            index: Index of each atom's species [N].

        Raises:
            StructureError: an index is not that of a species.
        """
        if not can_compile(x[0]):
            return reference.contract(self.layout, x, self._weights, index)
        return derivative(self.layout, "g", Operands(self.table, x), self._rows(index))

    def backward(self, x: Features, g: Features, index: Tensor) -> Features:
        """Return the derivative by the input `x`, given that by the output."""
        if can_compile(x[0]):
            return derivative(self.layout, "x", Operands(self.table, x, g), self._rows(index))
        with torch.enable_grad():
            leaves = tuple(part.detach().requires_grad_() for part in x)
            out = reference.contract(self.layout, leaves, self._weights, index)
            return torch.autograd.grad(out, leaves, g)

    @property
    def compiled(self) -> bool:
        """Whether compiled kernels do all of it."""
        able, dtype = can_compile(self.table), self.table.dtype
        return able and all(check.agrees(kernel_for(self.layout, dtype, by)) for by in "gx")

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Record the values."""
        irreps = [(degree, self.layout.channels) for degree, _ in self.layout.targets]
        out = recording.features(irreps)
        self._record(recording, "g", [*x, *out])
        return out

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Record the derivative by the input `x`, given that by the values."""
        by_x = tuple(map(torch.empty_like, x))
        self._record(recording, "x", [*x, *g, *by_x])
        return by_x

    def _record(self, recording: RecordedNetwork, variable: str, tensors: list[Tensor]) -> None:
        kernel = kernel_for(self.layout, self.table.dtype, variable)
        rows = self._rows(torch.tensor(recording.species))
        arguments = [rows.order, rows.start, rows.chunk_slot, self.table, *tensors]
        recording.launch(kernel_entry(kernel), arguments, len(rows.chunk_slot) * kernel.blocks)

    @property
    def layout(self) -> ContractionLayout:
        """Irreps and order."""
        return self.source.layout

    @cached_property
    def _weights(self) -> Features:
        """Weights of all paths to every output irrep, for plain torch."""
        return tuple(weight.detach() for weight in self.source.path_weights())

    def _rows(self, index: Tensor) -> SpeciesRows:
        """Return the atoms by species, whose coefficients are in the table then."""
        rows = species_rows(index, len(self.table))
        for i in set(rows.species.tolist()) - self.known:
            weights = self.source.path_weights(slice(i, i + 1))
            self.table[i] = coefficients(self.layout, weights, self.table.shape[-1])[0].detach()
            self.known.add(i)
        return rows._replace(slot=index, chunk_slot=rows.chunk_species)


@dataclass(frozen=True)
class FrozenByAutograd:
    """Any differentiable function of atoms' features and species, some atoms at a time.

    Attributes:
        function: From features and indices of species to features.
    """

    function: Callable[[Features, Tensor], Features]

    def forward(self, x: Features, index: Tensor) -> Features:
        """Return the values."""
        pairs = zip(chunks(x), chunks((index,)), strict=True)
        parts = [self.function(some, species) for some, (species,) in pairs]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def backward(self, x: Features, g: Features, index: Tensor) -> Features:
        """Return the derivative by `x`; values are computed again instead of stored."""
        parts = []
        for some, by, (species,) in zip(chunks(x), chunks(g), chunks((index,)), strict=True):
            with torch.enable_grad():
                leaves = tuple(part.detach().requires_grad_() for part in some)
                parts.append(torch.autograd.grad(self.function(leaves, species), leaves, by))
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))


def frozen_contraction(contraction: nn.Module) -> SpeciesMap:
    """Return products of many bodies for inference."""
    if isinstance(contraction, SymmetricContraction):
        return FrozenContraction.of(contraction)
    return FrozenByAutograd(contraction)
