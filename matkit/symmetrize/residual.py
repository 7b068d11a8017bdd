"""How much a potential's energy depends on how a structure lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float
from torch import Tensor

from matkit.calculator import MatkitCalculator
from matkit.errors import ConfigError
from matkit.evaluator import batches
from matkit.graph import Graph
from matkit.interfaces import Potential
from matkit.structures import Structures


def rotational_residual(model: Potential, structures: Structures) -> Float[Tensor, " B"]:
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


def residual_by(calc: BaseCalculator, atoms: Atoms) -> float:
    """Return the norm of dE/d(rotation) of a structure, eV per radian.

    Of a committee the mean over its members.

    Args:
        calc: Potential of matkit, or another ASE calculator, whose forces tell the torque on a
            molecule if they are derivatives of its energy.
        atoms: Structure; if it is periodic, the calculator must be a potential of matkit.

    Raises:
        ConfigError: another calculator does not tell the torque on a cell.
    """
    if isinstance(calc, MatkitCalculator):
        structures = calc.structures(atoms)
        return float(mean_residual(calc.potentials, structures)[0])
    if atoms.pbc.any():
        raise ConfigError(
            "Calculators of other programs do not tell the torque on a cell, so that how much the "
            "energy of a periodic structure depends on how it lies is known of potentials of "
            "matkit only. Leave out `residual`, or see how far the copies of "
            "symmetrize(calculator, 'grid:24') differ: energy_std."
        )
    forces = calc.get_property("forces", atoms)
    return float(np.linalg.norm(np.cross(atoms.positions, forces).sum(axis=0)) / 2**0.5)


def mean_residual(members: Sequence[Potential], structures: Structures) -> Float[Tensor, " B"]:
    """Return the mean of `rotational_residual` over potentials [B], eV per radian."""
    return torch.stack([rotational_residual(member, structures) for member in members]).mean(0)


def _residual(
    model: Potential, structures: Structures, device: torch.device
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
