"""Hessians of one structure: second derivatives of the energy, or what a network predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.hessians.differences import STEP, central_differences, completed
from matkit.interfaces import Potential
from matkit.neighbors import radius_graph
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures, cat

# A molecule cannot be turned about its axis if this times its size is how far atoms are off it.
LINEAR = 1e-4

# A predicted Hessian of a molecule is made invariant by so many conjugate gradients to begin with;
# no block counts as smaller than this, eV/Å².
INVARIANCE_STEPS = 8
SMALLEST_BLOCK = 1e-6

NO_HESSIAN = (
    "This model predicts no Hessians. Take method autograd or finite-difference, or a model with a "
    "Hessian head (hip) and no dispersion correction, which its Hessian would lack."
)


def autograd_hessian(
    potential: Potential,
    structures: Structures,
    block: int = 512,
    free: Sequence[int] | None = None,
) -> Float[Tensor, "M M"]:
    """Return the exact Hessian [3N, 3N] in eV/Å² of one structure.

    Copies of the structure are evaluated together and each gives one row in one backward pass.

    Args:
        potential: `ForceField` potential.
        structures: Batch of one.
        block: Atoms evaluated at once.
        free: Atoms whose rows are wanted; None for all.
    """
    one, n_atoms, rows = potential.featurize(structures), len(structures.species), []
    wanted = torch.arange(3 * n_atoms).view(-1, 3)
    wanted = wanted if free is None else wanted[sorted(free)]
    for components in wanted.flatten().split(max(1, block // n_atoms)):
        count = len(components)
        copies = cat([one] * count)
        positions = copies.positions.clone().requires_grad_()
        graph = copies.replace(positions=positions)
        forces = potential(graph, properties=("forces",), differentiable=True)["forces"]
        picked = forces.reshape(count, -1).gather(1, components[:, None].to(forces.device))
        if picked.requires_grad:
            (gradient,) = torch.autograd.grad(picked.sum(), positions)
        else:  # no edges: nothing depends on positions
            gradient = torch.zeros_like(positions)
        rows.append(-gradient.reshape(count, -1).double())
    matrix = completed(torch.cat(rows).cpu().numpy(), n_atoms, free)
    return torch.from_numpy(matrix).to(structures.device)


def finite_difference_hessian(
    potential: Potential,
    structures: Structures,
    block: int = 512,
    free: Sequence[int] | None = None,
) -> Float[Tensor, "M M"]:
    """Return the Hessian [3N, 3N] in eV/Å² by central differences of the forces.

    Args:
        potential: Potential with forces.
        structures: Batch of one.
        block: Atoms evaluated at once.
        free: Atoms that are displaced; None for all.
    """
    potential.check_species(structures)
    device, n_atoms, cutoff = structures.device, len(structures.species), potential.cutoff
    # One search is enough: a displaced atom comes nearer to no other by more than the step.
    wide = radius_graph(structures, cutoff + 2 * STEP)

    def forces_at(places: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(places).split(max(1, block // n_atoms))
        return np.concatenate([_forces(part).numpy() for part in parts])

    def _forces(places: Tensor) -> Tensor:
        positions = places.reshape(-1, 3).to(device)
        moved = cat([wide] * len(places)).replace(positions=positions, cutoff=cutoff)
        graph = moved.keep_edges(moved.vectors.square().sum(dim=1) < cutoff**2)
        forces = potential(graph, properties=("forces",))["forces"]
        return forces.detach().double().cpu().reshape(places.shape)

    positions = structures.positions.detach().cpu().numpy()
    displaced = None if free is None else sorted(free)
    rows = central_differences(forces_at, positions, STEP, displaced)
    return torch.from_numpy(completed(rows, n_atoms, free)).to(device)


def predicted_hessian(
    potential: Potential,
    structures: Structures,
    _block: int = 512,
    _free: Sequence[int] | None = None,
) -> Float[Tensor, "M M"]:
    """Return the Hessian [3N, 3N] in eV/Å² that the network predicts in one forward pass.

    Args:
        potential: Potential with a Hessian of its own, and forces.
        structures: Batch of one.
        _block: Without effect: all pairs are evaluated at once.
        _free: Without effect.

    Raises:
        ConfigError: the potential predicts no Hessian.
    """
    graph = potential.featurize(structures)
    blocks = predicted_blocks(potential, graph)
    (hessian,) = blocks.dense()
    if not blocks.invariant:
        return hessian
    forces = potential(graph, properties=("forces",))["forces"].detach()
    return impose_invariance(hessian, structures, forces)


def predicted_blocks(potential: Potential, graph: Graph) -> PairBlocks:
    """Return the Hessians in eV/Å² that the network predicts, in blocks and as they were learned.

    Raises:
        ConfigError: the potential predicts no Hessian.
    """
    with torch.no_grad():
        blocks = potential.hessian_blocks(graph)
    if blocks is None:
        raise ConfigError(NO_HESSIAN)
    return blocks


def impose_invariance(
    hessian: Float[Tensor, "M M"], structures: Structures, forces: Float[Tensor, "N 3"]
) -> Float[Tensor, "M M"]:
    """Return a symmetric matrix close to this one that agrees with the forces under rigid motions.

    An energy that rigid motions do not change has ``H t = 0`` for a shift t of all atoms, and
    ``H (ω x r) = ω x g`` for a turn, with the gradient g: forces turn with the molecule. At a
    stationary point this is the condition of Eckart, elsewhere P H P would take away what is right.

    Blocks of molecules give way in proportion to the square root of their norm, about as wrong as
    predictions are: the nearest matrix would take errors of bonds out of the small blocks of
    distant atoms. Of periodic structures it is the nearest.

    Args:
        hessian: Symmetric matrix [3N, 3N], eV/Å².
        structures: Batch of one; periodic ones are not turned.
        forces: Forces [N, 3], eV/Å.
    """
    motions, answers = _rigid(structures, -forces)
    u, sizes, v = torch.linalg.svd(motions, full_matrices=False)
    keep = sizes > LINEAR * sizes[0]
    u, known = u[:, keep], answers @ (v.T[:, keep] / sizes[keep])
    if not bool(structures.pbc.any()):
        hessian = hessian + _relative_change(hessian, u, known)
    rest = hessian - u @ (u.T @ hessian)
    rest = rest - (rest @ u) @ u.T
    cross = known @ u.T
    return _symmetric(rest + cross + cross.T - u @ (u.T @ known) @ u.T)


def _relative_change(
    hessian: Float[Tensor, "M M"], u: Float[Tensor, "M R"], known: Float[Tensor, "M R"]
) -> Float[Tensor, "M M"]:
    """Return about the symmetric D of least ``Σ_ij |D_ij|² / √|H_ij|`` with ``(H + D) u = known``.

    It is ``D_ij = √|H_ij| (x_i u_jᵀ + u_i x_jᵀ)``; a few conjugate gradients find x.
    """
    norms = hessian.unflatten(1, (-1, 3)).unflatten(0, (-1, 3)).norm(dim=(1, 3))
    room = norms.clamp(min=SMALLEST_BLOCK).sqrt().repeat_interleave(3, 0).repeat_interleave(3, 1)

    def change(x: Tensor) -> Tensor:
        half = x @ u.T
        return room * (half + half.T)

    rest = known - hessian @ u
    x, direction, size = torch.zeros_like(rest), rest, rest.square().sum()
    enough = 1e-20 * hessian.square().sum()
    for _ in range(INVARIANCE_STEPS):
        image = change(direction) @ u
        curvature = (direction * image).sum()
        # Single-precision forces have a torque, which no Hessian can answer.
        if size <= enough or curvature <= 1e-12 * size * room.max():
            break
        step = size / curvature
        x, rest = x + step * direction, rest - step * image
        before, size = size, rest.square().sum()
        direction = rest + size / before * direction
    return change(x)


def _rigid(structures: Structures, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return shifts and turns of all atoms [3N, R], and how the gradient changes with each."""
    axes = torch.eye(3, dtype=gradient.dtype, device=gradient.device)
    shifts = axes.repeat(len(gradient), 1)
    if bool(structures.pbc.any()):
        return shifts, torch.zeros_like(shifts)
    away = structures.positions - structures.positions.mean(dim=0)
    turns, turned = (
        torch.linalg.cross(axes[:, None, :], vectors[None]).flatten(1).T
        for vectors in (away, gradient)
    )
    return torch.cat([shifts, turns], 1), torch.cat([torch.zeros_like(shifts), turned], 1)


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2
