"""Read-out: any properties of structures from the features of any network of atoms.

A backbone describes atoms by invariant features, and by directions if it has such. Extensive
targets are sums over the atoms, intensive ones are read from a pooled row, set2set by default
(Vinyals et al. 2016, as in Gilmer et al. 2017). Dipoles are charges times positions plus vectors of
the atoms, polarizabilities traces plus matrices without trace (as in Schütt et al. 2021, PaiNN,
section 3.3), the spatial extent charges times squares of distances. All targets share one layer on
top of the backbone and each has its own after it.

Every target begins as what the composition says of it, by a least-squares fit (the spatial extent
as what the places of the elements say too), and is learnt in units of what this leaves. The
uncertainty is that of the last linear map (`matkit.nn.heads.last_layer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import AtomDescription, Potential, Properties, PropertyModel
from matkit.interfaces.property_model import Target, check_targets, columns_of
from matkit.nn.arguments import check_positive
from matkit.nn.composition import CompositionFit, count_species
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.heads.last_layer import last_layers
from matkit.nn.heads.moments import (
    Dipole,
    Polarizability,
    SumOfAtoms,
    SumOfSquares,
    squares_from_center,
)
from matkit.nn.heads.pooling import pooling as pooling_of
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures

# What is proportional to the number of atoms, if all are alike.
SUMS = ("extensive", "polarizability", "extent")
# Of the norm of a vector, so that it has a derivative everywhere.
SOFTENING = 1e-6


class Readout(PropertyModel):
    """Network of any number of properties.

    Args:
        species: Atomic numbers; the backbone's.
        backbone: Network that describes atoms. In a configuration, its `name` and
            hyper-parameters.
        targets: Name, kind, number of components and unit of each target; see
            `matkit.interfaces.property_model.Target`.
        width: Features of an atom that all targets share.
        hidden: Features of each target before its last linear map.
        pooling: How intensive targets see the atoms: `set2set`, `attention` or `mean`.

    Raises:
        ConfigError: an argument is out of range, or the backbone does not fit.
    """

    is_extent: Tensor

    def __init__(
        self,
        species: Sequence[int],
        backbone: Potential,
        targets: Sequence[Sequence[Any]],
        width: int = 128,
        hidden: int = 64,
        pooling: str = "set2set",
    ) -> None:
        super().__init__()
        check_positive(width=width, hidden=hidden)
        if backbone.species != tuple(species):
            raise ConfigError(
                f"Expected the backbone's species {list(backbone.species)}, got {list(species)}."
            )
        self.targets = check_targets(targets)
        self.species, self.cutoff = backbone.species, backbone.cutoff
        self.conditions, self.sees = backbone.conditions, backbone.sees
        described = _described_by(backbone)
        self.backbone = backbone.without_energy()
        self.index = SpeciesIndex(self.species)
        features = described.scalars.shape[1]
        self.shared = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.SiLU())
        intensive = any(target.kind == "intensive" for target in self.targets)
        self.pooling = pooling_of(pooling, width) if intensive else None
        pooled = width if self.pooling is None else self.pooling.width
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(pooled, hidden), nn.SiLU())
            if target.kind == "intensive"
            else _head(target, width, hidden, described)
            for target in self.targets
        )
        counts = [int(getattr(head, "features", hidden)) for head in self.heads]
        self.last = nn.ParameterList(
            _last_weights(target, count) for target, count in zip(self.targets, counts, strict=True)
        )
        sums = [target.kind in SUMS for target in self.targets for _ in range(target.width)]
        self.composition = CompositionFit(len(self.species), sums)
        extents = [target.kind == "extent" for target in self.targets for _ in range(target.width)]
        self.register_buffer("is_extent", torch.tensor(extents), persistent=False)
        # Of the numbers of atoms, and of the sums of their squared distances from the centre.
        self.extents = (
            CompositionFit(2 * len(self.species), [True] * sum(extents)) if any(extents) else None
        )
        self.uncertainty = last_layers(counts)

    def featurize(self, structures: Structures, neighbors: str = "auto") -> Graph:
        """Build the graph of the backbone."""
        return self.backbone.featurize(structures, neighbors)

    def begin_with(self, structures: Structures) -> None:
        """Fit what is known without the network to the targets of a training set."""
        values = structures.system["targets"].double()
        smooth = values.clone()
        for target, columns in zip(self.targets, columns_of(self.targets), strict=True):
            if target.width > 1:  # what does not turn with the structure: nothing, or the trace
                smooth[:, columns] = _unturned(values[:, columns])
        self.composition.fit(self._counts(structures), smooth)
        if self.extents is not None:
            self.extents.fit(self._counts_and_squares(structures), values[:, self.is_extent])
        rest = values - self._origin(structures)
        for columns in columns_of(self.targets):
            known = rest[:, columns][rest[:, columns].isfinite()]
            self.composition.spread[columns] = known.square().mean().sqrt()

    def baseline(self, structures: Structures) -> Float[Tensor, "B W"]:
        """Return what the composition alone says of the targets."""
        return self.composition(self._counts(structures))

    def _origin(self, structures: Structures) -> Float[Tensor, "B W"]:
        """Return what is known of the targets without the network."""
        known = self.baseline(structures)
        if self.extents is not None:
            known[:, self.is_extent] = self.extents(self._counts_and_squares(structures))
        return known

    def units(self) -> Float[Tensor, " W"]:
        """Return the spread of every column about what it begins as, in the training set."""
        return self.composition.spread

    def forward(self, graph: Graph) -> Properties:
        """Return the targets [B, W] in their units, float64."""
        return Properties(targets=self._learnt(graph, self._inputs(graph)))

    def atomic_charges(self, graph: Graph, target: int) -> Float[Tensor, " N"] | None:
        """Return the charges [N] of a dipole, in its unit per Å; None if it has none."""
        head = self.heads[target]
        if not isinstance(head, Dipole):
            return None
        x = self.shared(self.backbone.describe(graph).scalars)
        unit = self.composition.spread[columns_of(self.targets)[target]][0]
        return unit * head.charges(x, self.last[target], graph).double()

    def last_inputs(self, graph: Graph) -> tuple[Float[Tensor, "B W"], list[Tensor]]:
        """Return the targets, and of each its derivative by the last weights [B, width, F]."""
        inputs, units = self._inputs(graph), self.composition.spread
        derivatives = []
        for k, (target, x) in enumerate(zip(self.targets, inputs, strict=True)):
            unit = units[columns_of(self.targets)[k]][0]
            if _is_norm(target):
                vector = x @ self.last[k]
                x = (_norm(vector)[1].unsqueeze(2) * x).sum(1, keepdim=True)
            derivatives.append(unit * x.double())
        return self._learnt(graph, inputs), derivatives

    def _inputs(self, graph: Graph) -> list[Tensor]:
        """Return what the last map of each target is applied to [B, components, F]."""
        description = self.backbone.describe(graph)
        x = self.shared(description.scalars)
        row = x if self.pooling is None else self.pooling(x, graph.batch, len(graph))
        return [
            head(row).unsqueeze(1) if target.kind == "intensive" else head(x, description, graph)
            for target, head in zip(self.targets, self.heads, strict=True)
        ]

    def _learnt(self, graph: Graph, inputs: Sequence[Tensor]) -> Tensor:
        zero, units = self._origin(graph), self.composition.spread
        parts = []
        for k, (target, columns) in enumerate(
            zip(self.targets, columns_of(self.targets), strict=True)
        ):
            value = (inputs[k] @ self.last[k]).double()
            if _is_norm(target):
                parts.append(units[columns] * _norm(value)[0])
            else:
                parts.append(zero[:, columns] + units[columns] * value)
        return torch.cat(parts, dim=1)

    def _counts(self, structures: Structures) -> Tensor:
        size = len(structures), len(self.species)
        return count_species(self.index(structures.species), structures.batch, size)

    def _counts_and_squares(self, structures: Structures) -> Tensor:
        count, width = len(structures), len(self.species)
        place = structures.batch * width + self.index(structures.species)
        squares = scatter_sum(squares_from_center(structures), place, count * width)
        return torch.cat([self._counts(structures), squares.view(count, width)], dim=1)


def _described_by(backbone: Potential) -> AtomDescription:
    """Return what a backbone says of a pair of atoms, to know how much it is."""
    positions = torch.zeros(2, 3, dtype=torch.float64)
    positions[1, 0] = 0.5 * backbone.cutoff
    pair = Structures(
        positions=positions,
        species=torch.tensor([backbone.species[0]] * 2),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([2]),
        bonds=torch.tensor([[0, 1]]),
    )
    with torch.no_grad():
        return backbone.describe(backbone.featurize(pair))


def _head(target: Target, width: int, hidden: int, described: AtomDescription) -> nn.Module:
    if target.kind == "extent":
        return SumOfSquares(width, hidden)
    if target.kind == "dipole":
        vectors = described.vectors
        return Dipole(width, hidden, 0 if vectors is None else vectors.shape[2])
    if target.kind == "polarizability" and target.width > 1:
        tensors = described.tensors
        return Polarizability(width, hidden, 0 if tensors is None else tensors.shape[2])
    return SumOfAtoms(width, hidden)


def _last_weights(target: Target, count: int) -> nn.Parameter:
    """Return weights of a last map: zero, but for a norm, which has no slope there."""
    weights = torch.randn(count) * (0.1 / sqrt(count)) if _is_norm(target) else torch.zeros(count)
    return nn.Parameter(weights)


def _is_norm(target: Target) -> bool:
    return target.kind == "dipole" and target.width == 1


def _norm(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Return norms [B, 1] of vectors [B, 3], and their directions."""
    norm = (vector.square().sum(1, keepdim=True) + SOFTENING**2).sqrt()
    return norm, vector / norm


def _unturned(values: Tensor) -> Tensor:
    """Return the part of vectors [B, 3] or matrices [B, 9] that no rotation changes."""
    if values.shape[1] == 3:
        return torch.zeros_like(values)
    unit = torch.eye(3, dtype=values.dtype, device=values.device).reshape(9)
    return (values * unit).sum(1, keepdim=True) / 3 * unit
