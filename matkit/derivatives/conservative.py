"""Forces and stress of any energy network; the only place where they are computed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor

from matkit.derivatives.force_field import DERIVED, ForceField, stress_is_defined
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.scatter import scatter_sum
from matkit.threads import threads_for


class Conservative(ForceField):
    """An energy network together with the exact derivatives of its energy.

    With a symmetric strain ε applied to positions and cell, ``r' = r (1 + ε)``,
    ``F_i = -dE/dr_i`` and ``σ = (1/V) dE/dε``, positive in tension (Nielsen and Martin 1985,
    https://doi.org/10.1103/PhysRevB.32.3780; ASE's sign).

    Args:
        network: Potential that provides `atom_energy`.
    """

    conservative = True

    def __init__(self, network: Potential) -> None:
        super().__init__(network)
        self.provides = DERIVED | network.provides

    def forward(
        self,
        graph: Graph,
        properties: Collection[str] = DERIVED,
        differentiable: bool | None = None,
    ) -> Properties:
        """Predict the energy and the derivatives asked for; see `ForceField.forward`."""
        keep = self.training if differentiable is None else differentiable
        with threads_for(len(graph.center)):
            return self._predicted(graph, frozenset(properties) & {"forces", "stress"}, keep)

    def _predicted(self, graph: Graph, wanted: frozenset[str], keep: bool) -> Properties:
        """Predict the energy and the derivatives `wanted`, to be differentiated if to `keep`."""
        if not wanted:
            with torch.set_grad_enabled(keep):
                return self._with_total(graph, self.network(graph))
        analytic = self.network.edge_gradient(graph) if self.analytic and not keep else None
        if analytic is not None:
            result, by_edge = analytic
            by_position, by_strain = _from_edges(graph, by_edge, "stress" in wanted)
            return self._derived(graph, result, by_position, by_strain, wanted)
        with torch.enable_grad():
            moved, leaves = _strained(graph) if "stress" in wanted else _moved(graph)
            result = self.network(moved)
            by_leaves = _gradient(result["atom_energy"], leaves, keep)
        result = result if keep else _detached(result)
        by_strain = by_leaves[1] if "stress" in wanted else None
        return self._derived(graph, result, by_leaves[0], by_strain, wanted)

    def _derived(
        self,
        graph: Graph,
        result: Properties,
        by_position: Tensor,
        by_strain: Tensor | None,
        wanted: frozenset[str],
    ) -> Properties:
        result = self._with_total(graph, result)
        if "forces" in wanted:
            result["forces"] = -by_position
        if by_strain is not None:
            result["stress"] = _stress(graph, by_strain)
        return result

    @staticmethod
    def _with_total(graph: Graph, result: Properties) -> Properties:
        energy = scatter_sum(result["atom_energy"].double(), graph.batch, len(graph))
        return Properties(**{**result, "energy": energy})


def _from_edges(graph: Graph, by_edge: Tensor, strained: bool) -> tuple[Tensor, Tensor | None]:
    """Return dE/dr [N, 3] and, if wanted, dE/dε [B, 3, 3] from dE/d(edge vector) [E, 3]."""
    n_atoms = len(graph.species)
    pull = scatter_sum(by_edge, graph.neighbor, n_atoms)
    by_position = pull - scatter_sum(by_edge, graph.center, n_atoms, graph.pointers)
    if not strained:
        return by_position, None
    virial = graph.vectors.unsqueeze(2) * by_edge.unsqueeze(1)
    by_strain = scatter_sum(virial, graph.batch[graph.center], len(graph))
    return by_position, (by_strain + by_strain.mT) / 2


def _detached(result: Properties) -> Properties:
    tensors = cast(dict[str, Tensor], result)
    return cast(Properties, {key: value.detach() for key, value in tensors.items()})


def _moved(graph: Graph) -> tuple[Graph, list[Tensor]]:
    """Return the graph with positions to differentiate by, and these."""
    positions = graph.positions
    if not positions.requires_grad:
        positions = positions.detach().requires_grad_()
    return graph.replace(positions=positions), [positions]


def _strained(graph: Graph) -> tuple[Graph, list[Tensor]]:
    """Return the graph under a zero strain, with positions and strain to differentiate by."""
    graph, (positions,) = _moved(graph)
    strain = graph.cell.new_zeros(len(graph), 3, 3).requires_grad_()
    symmetric = (strain + strain.mT) / 2
    moved = positions + torch.einsum("nx,nxy->ny", positions, symmetric[graph.batch])
    cell = graph.cell + graph.cell @ symmetric
    return graph.replace(positions=moved, cell=cell), [positions, strain]


def _gradient(energy: Tensor, leaves: list[Tensor], create_graph: bool) -> Sequence[Tensor]:
    """Return the energy's derivatives, zero where it does not depend on the geometry."""
    if not energy.requires_grad:  # no edges at all, e.g. isolated atoms
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(
        energy.sum(),
        leaves,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def _stress(graph: Graph, by_strain: Tensor) -> Tensor:
    defined = stress_is_defined(graph)[:, None, None]
    # Divided before it is masked, so that no NaN meets the derivative of the defined ones.
    volume = torch.where(defined, graph.volume[:, None, None], 1.0)
    return torch.where(defined, by_strain / volume, torch.nan)
