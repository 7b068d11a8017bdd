"""Second derivatives of the energy of a conservative potential, in blocks of bounded memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.interfaces import Potential
from matkit.structures import Structures, cat


def autograd_hessian(
    potential: Potential, structures: Structures, block: int = 512
) -> Float[Tensor, "M M"]:
    """Return the exact Hessian [3N, 3N] in eV/Å² of one structure.

    Copies of the structure are evaluated together and each gives one row in one backward pass.

    Args:
        potential: `Conservative` potential.
        structures: Batch of one.
        block: Atoms evaluated at once.
    """
    rows = []
    for components in _blocks(3 * len(structures.species), len(structures.species), block):
        count = len(components)
        copies = _copies(structures, count)
        positions = copies.positions.clone().requires_grad_()
        graph = potential.featurize(copies).replace(positions=positions)
        forces = potential(graph, properties=("forces",), differentiable=True)["forces"]
        picked = forces.reshape(count, -1).gather(1, components[:, None].to(forces.device))
        if picked.requires_grad:
            (gradient,) = torch.autograd.grad(picked.sum(), positions)
        else:  # no edges: nothing depends on positions
            gradient = torch.zeros_like(positions)
        rows.append(-gradient.reshape(count, -1).double())
    return _symmetric(torch.cat(rows))


def finite_difference_hessian(
    potential: Potential, structures: Structures, block: int = 512, step: float = 1e-3
) -> Float[Tensor, "M M"]:
    """Return the Hessian [3N, 3N] in eV/Å² by central differences of the forces.

    Args:
        potential: Potential with forces.
        structures: Batch of one.
        block: Atoms evaluated at once.
        step: Displacement, Å.
    """
    rows = []
    for components in _blocks(3 * len(structures.species), 2 * len(structures.species), block):
        count = len(components)
        move = torch.zeros(count, 3 * len(structures.species), dtype=torch.float64)
        move[torch.arange(count), components] = step
        copies = _copies(structures, 2 * count)
        shift = torch.cat([move, -move]).reshape(-1, 3).to(copies.device)
        graph = potential.featurize(copies.replace(positions=copies.positions + shift))
        forces = potential(graph, properties=("forces",))["forces"].detach().double()
        plus, minus = forces.reshape(2, count, -1)
        rows.append((minus - plus) / (2 * step))
    return _symmetric(torch.cat(rows))


def _blocks(n_rows: int, atoms_per_row: int, block: int) -> tuple[Tensor, ...]:
    return torch.arange(n_rows).split(max(1, block // atoms_per_row))


def _copies(structures: Structures, count: int) -> Structures:
    return cat([structures] * count)


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2
