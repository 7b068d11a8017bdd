"""Optimisers of many structures at once, each step the same as that of ASE's optimiser.

A memory is a dictionary of tensors with a row per structure, so that structures come and go. All
are pure: ``step(force, memory)`` returns the displacement and the new memory. Arrays are those of
`slots`, ``[B, S, 3]``, and forces are those on generalised coordinates (those of ASE's
`FrechetCellFilter` if the cell is relaxed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

Memory = dict[str, Tensor]

# Longest step, Å: of all coordinates together for FIRE, of any one for the others.
LONGEST = 0.2
# Curvature assumed at first, eV/Å².
CURVATURE = 70.0
# Steps that L-BFGS remembers.
HISTORY = 100
# FIRE: first and longest time step, patience, and the factors of time step and mixing.
TIME, LONGEST_TIME, PATIENCE = 0.1, 1.0, 5
FASTER, SLOWER, MIXING, CALMER = 1.1, 0.5, 0.1, 0.99


class BatchedOptimizer(NamedTuple):
    """An optimisation method.

    Attributes:
        begin: Returns the first memory of structures, for an array of their slots [B, S, 3].
        step: Returns displacements [B, S, 3] and the new memory, from forces and memory.
    """

    begin: Callable[[Tensor], Memory]
    step: Callable[[Tensor, Memory], tuple[Tensor, Memory]]


def begin_fire(array: Tensor) -> Memory:
    """Return FIRE's first memory: at rest."""
    ones = array.new_ones(len(array))
    return {
        "velocity": torch.zeros_like(array),
        "time": TIME * ones,
        "mixing": MIXING * ones,
        "downhill": torch.zeros_like(ones),
        "age": torch.zeros_like(ones),
    }


def fire(force: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Take a step of FIRE (Bitzek et al. 2006) with ASE's constants."""
    velocity, time, mixing = memory["velocity"], memory["time"], memory["mixing"]
    downhill, age = memory["downhill"], memory["age"]
    along = _dot(force, velocity) > 0
    speed, size = _dot(velocity, velocity).sqrt(), _dot(force, force).sqrt()
    turned = (1 - _wide(mixing)) * velocity + _wide(mixing * speed / size) * force
    velocity = torch.where(_wide(along), turned, 0.0)
    patient = along & (downhill > PATIENCE)
    new_time = torch.where(patient, (time * FASTER).clamp(max=LONGEST_TIME), time)
    new_mixing = torch.where(patient, mixing * CALMER, mixing)
    first = age == 0  # at rest, which is no reason to slow down
    uphill = ~along & ~first
    new_time = torch.where(uphill, time * SLOWER, new_time)
    new_mixing = torch.where(uphill, MIXING, new_mixing)
    downhill = torch.where(along, downhill + 1, 0.0)
    velocity = velocity + _wide(new_time) * force
    step = _wide(new_time) * velocity
    step = step * _wide((LONGEST / _dot(step, step).sqrt()).clamp(max=1.0))
    return step, {
        "velocity": velocity,
        "time": new_time,
        "mixing": new_mixing,
        "downhill": downhill,
        "age": age + 1,
    }


def begin_lbfgs(array: Tensor) -> Memory:
    """Return L-BFGS's first memory: no history."""
    nothing = array.new_zeros(len(array), 0, *array.shape[1:])
    return {
        "moves": nothing,
        "changes": nothing,
        "last_step": torch.zeros_like(array),
        "last_force": torch.zeros_like(array),
    }


def lbfgs(force: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Take a step of L-BFGS (Nocedal 1980) with ASE's constants."""
    moves = _appended(memory["moves"], memory["last_step"])
    changes = _appended(memory["changes"], memory["last_force"] - force)
    step = _limited(_two_loops(force, moves, changes))
    return step, {"moves": moves, "changes": changes, "last_step": step, "last_force": force}


def _two_loops(force: Tensor, moves: Tensor, changes: Tensor) -> Tensor:
    """Return the inverse Hessian of the history [B, M, S, 3] times the force [B, S, 3].

    Both loops of the recursion are triangular systems. With moves s, changes y and P_ij = s_i·y_j
    the first one's factors are those of ``sum over j >= i of P_ij a_j = s_i·f``, and the second one
    adds ``sum of s_i c_i`` with ``sum over j <= i of P_ji c_j = P_ii a_i - y_i·r``.
    """
    s, y, f = moves.flatten(2), changes.flatten(2), force.flatten(1).unsqueeze(2)
    # Steps before a structure came, and those that did not move it, have no part.
    void = (s * y).sum(dim=2, keepdim=True) == 0
    s, y = s.masked_fill(void, 0.0), y.masked_fill(void, 0.0)
    products = s @ y.mT
    diagonal = products.diagonal(dim1=1, dim2=2)
    diagonal += void.squeeze(2)
    first = torch.linalg.solve_triangular(products, s @ f, upper=True)
    rest = (f - y.mT @ first) / CURVATURE
    right = diagonal.unsqueeze(2) * first - y @ rest
    second = torch.linalg.solve_triangular(products.mT, right, upper=False)
    return (rest + s.mT @ second).view_as(force)


def begin_bfgs(array: Tensor) -> Memory:
    """Return BFGS's first memory: the same curvature in all directions."""
    size = array[0].numel()
    hessian = CURVATURE * torch.eye(size, dtype=array.dtype, device=array.device)
    return {
        "hessian": hessian.expand(len(array), size, size).clone(),
        "last_step": torch.zeros_like(array),
        "last_force": torch.zeros_like(array),
    }


def bfgs(force: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Take a step of BFGS with ASE's constants: along |H|⁻¹ f."""
    hessian = _updated(memory, force)
    step = _limited(_newton_step(hessian, force.flatten(1)).view_as(force))
    return step, {"hessian": hessian, "last_step": step, "last_force": force}


def _updated(memory: Memory, force: Tensor) -> Tensor:
    """Return the Hessian [B, D, D] after the last step."""
    hessian, move = memory["hessian"], memory["last_step"].flatten(1)
    change = (memory["last_force"] - force).flatten(1)
    image = torch.einsum("bij,bj->bi", hessian, move)
    curvature, expected = (change * move).sum(1), (move * image).sum(1)
    # As in ASE, structures that hardly moved teach nothing.
    moved = (move.abs().amax(dim=1) >= 1e-7)[:, None, None]
    gain = change[:, :, None] * change[:, None, :] / curvature[:, None, None]
    loss = image[:, :, None] * image[:, None, :] / expected[:, None, None]
    return torch.where(moved, hessian + gain - loss, hessian)


def _newton_step(hessian: Tensor, force: Tensor) -> Tensor:
    """Return |H|⁻¹ f [B, D]; a decomposition is needed only where H is not positive."""
    factor, problem = torch.linalg.cholesky_ex(hessian)
    step = torch.cholesky_solve(force.unsqueeze(2), factor).squeeze(2)
    for i in problem.nonzero().flatten().tolist():
        step[i] = _absolute_step(hessian[i], force[i])
    return step


def _absolute_step(hessian: Tensor, force: Tensor) -> Tensor:
    if not bool(hessian.isfinite().all()):
        return torch.full_like(force, torch.nan)
    values, vectors = torch.linalg.eigh(hessian)
    return vectors @ ((force @ vectors) / values.abs())


OPTIMIZERS = {
    "FIRE": BatchedOptimizer(begin_fire, fire),
    "LBFGS": BatchedOptimizer(begin_lbfgs, lbfgs),
    "BFGS": BatchedOptimizer(begin_bfgs, bfgs),
}


def resized(memory: Mapping[str, Tensor], slots: int, history: int = 0) -> Memory:
    """Return a memory for another number of slots and another length of history.

    Slots beyond those of a structure never move, so they may be added and left out; so may a
    history of steps that were none.
    """
    return {name: _resized(name, value, slots, history) for name, value in memory.items()}


def history(memory: Mapping[str, Tensor]) -> int:
    """Return how many steps a memory holds."""
    return memory["moves"].shape[1] if "moves" in memory else 0


def _resized(name: str, value: Tensor, slots: int, history: int) -> Tensor:
    if name == "hessian":
        more = 3 * slots - value.shape[1]
        value = pad(value, (0, more, 0, more))
        if more > 0:
            value.diagonal(dim1=1, dim2=2)[:, -more:] = CURVATURE
        return value
    if value.ndim == 3:
        return pad(value, (0, 0, 0, slots - value.shape[1]))
    if value.ndim == 4:
        return pad(value, (0, 0, 0, slots - value.shape[2], history - value.shape[1], 0))
    return value


def _appended(history: Tensor, last: Tensor) -> Tensor:
    return torch.cat([history, last.unsqueeze(1)], dim=1)[:, -HISTORY:]


def _limited(step: Tensor) -> Tensor:
    """Return a step no coordinate of which moves farther than is allowed, in the same direction."""
    longest = step.norm(dim=2).amax(dim=1)
    return step * _wide((LONGEST / longest).clamp(max=1.0))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)


def _wide(by_structure: Tensor) -> Tensor:
    return by_structure[:, None, None]
