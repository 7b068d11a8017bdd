"""The one orientation of a structure in which a network gives it the lowest energy.

``E(x) = min_R E(x R)`` over all rotations (and reflections) is invariant whatever the network. Its
first derivatives are those at the minimiser, held fixed (the envelope theorem); they jump where two
minimisers swap. The minimum is sought from all copies of a grid, by Newton's steps over the three
angles of a turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.orientations import Orientations

# Most steps, and the longest and shortest one, rad: what is left after that is rounding, which is
# more in single precision.
STEPS, LONGEST, SHORTEST = 30, 0.5, 1e-6
# Slope at which no further step is taken, eV/rad.
FLAT_SLOPE = 1e-9
# Curvature, of the largest, below which the energy does not depend on a turn.
FLAT = 1e-6

# Energies [K] of turned copies of the structures of a batch, float64.
EnergiesOfCopies = Callable[[Graph, Orientations], Tensor]


class Expansion(NamedTuple):
    """Energies of copies to second order in a further turn.

    Attributes:
        value: Energies, eV [K].
        slope: First derivatives by the turn, eV/rad [K, 3].
        curvature: Second derivatives, eV/rad² [K, 3, 3].
    """

    value: Float[Tensor, " K"]
    slope: Float[Tensor, "K 3"]
    curvature: Float[Tensor, "K 3 3"]


def lowest_orientations(
    energies: EnergiesOfCopies, graph: Graph, grid: Orientations, rounding: float
) -> Orientations:
    """Return the orientation of lowest energy of each structure.

    It is differentiable by positions and cell if these are to be differentiated by: second
    derivatives of the energy, and training on forces, need it.

    Args:
        energies: Of turned copies, eV.
        graph: Structures.
        grid: The same number of orientations of every structure to begin with.
        rounding: Relative error of the energies.
    """
    fixed = graph.replace(positions=graph.positions.detach(), cell=graph.cell.detach())
    refined, values = descended(energies, fixed, grid, rounding)
    each = len(values) // len(graph)
    first = each * torch.arange(len(graph), device=values.device)
    rows = first + values.view(-1, each).argmin(dim=1)
    best = Orientations(
        refined.which[rows], refined.matrix[rows], refined.weight.new_ones(len(graph))
    )
    if torch.is_grad_enabled() and graph.positions.requires_grad:
        return followed(energies, graph, best)
    return best


def descended(
    energies: EnergiesOfCopies, graph: Graph, copies: Orientations, rounding: float
) -> tuple[Orientations, Float[Tensor, " K"]]:
    """Return copies turned on to the next minimum of the energy, and their energies."""
    here = expansion(energies, graph, copies)
    matrix, radius = copies.matrix.clone(), torch.full_like(here.value, LONGEST)
    shortest = max(SHORTEST, 100 * rounding)
    for _ in range(STEPS):
        flat = FLAT_SLOPE + rounding * here.value.abs()
        moving = (here.slope.norm(dim=1) > flat) & (radius > shortest)
        rows = moving.nonzero().flatten()
        if not len(rows):
            break
        now = Expansion(*(part[rows] for part in here))
        start = Orientations(*(part[rows] for part in copies))
        step = downhill(now.slope, now.curvature, radius[rows])
        turned = start._replace(matrix=matrix[rows] @ rotation(step))
        then = expansion(energies, graph, turned)
        lower = is_lower(then, now, rounding)
        radius[rows] = torch.where(lower, 2 * radius[rows], step.norm(dim=1) / 4).clamp(max=LONGEST)
        matrix[rows[lower]] = turned.matrix[lower]
        for mine, new in zip(here, then, strict=True):
            mine[rows[lower]] = new[lower]
    return copies._replace(matrix=matrix), here.value


def expansion(
    energies: EnergiesOfCopies, graph: Graph, copies: Orientations, keep: bool = False
) -> Expansion:
    """Return the energies of copies with their derivatives; the slope as a function if to `keep`.

    The slope is a function of positions and cell then, as of the network's weights.
    """
    with torch.enable_grad():
        turn = copies.matrix.new_zeros(len(copies.weight), 3).requires_grad_()
        value = energies(graph, copies._replace(matrix=copies.matrix @ rotation(turn)))
        slope = _derivative(value, turn, keep=True)
        rows = [_derivative(slope[:, axis], turn) for axis in range(3)]
    slope = slope if keep else slope.detach()
    return Expansion(value.detach(), slope, torch.stack(rows, dim=1))


def downhill(
    slope: Float[Tensor, "K 3"], curvature: Float[Tensor, "K 3 3"], radius: Float[Tensor, " K"]
) -> Float[Tensor, "K 3"]:
    """Return Newton's step with positive curvatures, not longer than the radius."""
    values, axes = torch.linalg.eigh((curvature + curvature.mT) / 2)
    sizes = values.abs()
    sizes = sizes.clamp(min=FLAT * sizes.amax(dim=1, keepdim=True)).clamp(min=1e-12)
    along = torch.einsum("kxa,kx->ka", axes, slope) / sizes
    step = -torch.einsum("kxa,ka->kx", axes, along)
    length = step.norm(dim=1)
    return step * (radius / length.clamp(min=1e-12)).clamp(max=1).unsqueeze(1)


def is_lower(there: Expansion, here: Expansion, rounding: float) -> Bool[Tensor, " K"]:
    """Return which energies fall, or are equal within rounding and have a smaller slope."""
    change = there.value - here.value
    equal = change.abs() <= rounding * here.value.abs()
    return torch.where(equal, there.slope.norm(dim=1) < here.slope.norm(dim=1), change < 0)


def followed(energies: EnergiesOfCopies, graph: Graph, copies: Orientations) -> Orientations:
    """Return minimisers as functions of the structure, to first order: one more Newton step.

    The slope is zero in value, and its derivative by the structure moves the minimiser.
    """
    here = expansion(energies, graph, copies, keep=True)
    inverse = torch.linalg.pinv((here.curvature + here.curvature.mT) / 2, rtol=FLAT, hermitian=True)
    step = -torch.einsum("kxy,ky->kx", inverse, here.slope)
    return copies._replace(matrix=copies.matrix @ rotation(step))


def rotation(turn: Float[Tensor, "K 3"]) -> Float[Tensor, "K 3 3"]:
    """Return the matrices of turns about an axis by its length; rows of coordinates times them."""
    x, y, z = turn.unbind(dim=1)
    nothing = torch.zeros_like(x)
    rows = [nothing, z, -y, -z, nothing, x, y, -x, nothing]
    return torch.linalg.matrix_exp(torch.stack(rows, dim=1).view(-1, 3, 3))


def _derivative(of: Tensor, by: Tensor, keep: bool = False) -> Tensor:
    if not of.requires_grad:  # no edges at all
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(
        of.sum(),
        by,
        create_graph=keep,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return found
