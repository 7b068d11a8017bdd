"""How much a potential's energy depends on how a structure lies."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.derivatives import ForceField
from matkit.evaluator import batches
from matkit.graph import Graph
from matkit.structures import Structures


def rotational_residual(model: ForceField, structures: Structures) -> Float[Tensor, " B"]:
    """Return the norm of dE/d(rotation) of each structure [B], eV per radian.

    The antisymmetric part of the derivative by a strain of positions and cell that need not be
    symmetric: the net torque of a molecule, and zero for every energy that is invariant.

    Args:
        model: Potential with an energy.
        structures: Any number of structures.
    """
    device = next(model.parameters()).device
    parts = [_residual(model, structures.index(which), device) for which in batches(structures)]
    return torch.cat(parts)


def _residual(
    model: ForceField, structures: Structures, device: torch.device
) -> Float[Tensor, " B"]:
    graph = model.featurize(structures).to(device)
    strain = graph.cell.new_zeros(len(graph), 3, 3).requires_grad_()
    with torch.enable_grad():
        moved = _strained(graph, strain)
        energy = model(moved, ("energy",), differentiable=True)["energy"]
        if not energy.requires_grad:
            return energy.new_zeros(len(graph)).cpu()
        (gradient,) = torch.autograd.grad(energy.sum(), strain)
    antisymmetric = (gradient - gradient.mT) / 2
    return antisymmetric.detach().flatten(1).norm(dim=1).double().cpu()


def _strained(graph: Graph, strain: Tensor) -> Graph:
    positions = graph.positions + torch.einsum("nx,nxy->ny", graph.positions, strain[graph.batch])
    return graph.replace(positions=positions, cell=graph.cell + graph.cell @ strain)
