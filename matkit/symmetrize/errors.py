"""How far predictions are from turning with the structure, measured by turning it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.derivatives import ForceField
from matkit.evaluator import committee_prediction
from matkit.nn.orientations import random_turns
from matkit.structures import Structures
from matkit.symmetrize.residual import mean_residual


@dataclass(frozen=True)
class EquivarianceErrors:
    """Root mean squares over structures, and over turns of each.

    Attributes:
        structures: How many structures were turned.
        turns: Random rotations and reflections of each.
        energy: Deviation of the energy from its mean over the turns, eV/atom.
        forces: Deviation of the components of forces, turned back, eV/Å.
        stress: The same of stresses, eV/Å³; None if there is none.
        residual: Median norm of dE/d(rotation), eV per radian.
    """

    structures: int
    turns: int
    energy: float
    forces: float
    stress: float | None
    residual: float


def equivariance_errors(
    members: Sequence[ForceField],
    structures: Structures,
    turns: int = 4,
    seed: int = 0,
    on_batch: Callable[[int, int], None] | None = None,
) -> EquivarianceErrors:
    """Return what random turns of structures change in the mean predictions of potentials.

    Args:
        members: Potentials, at least one.
        structures: Any number of structures.
        turns: Random rotations and reflections of each.
        seed: Of the turns.
        on_batch: Called with the number of predictions done and in all.
    """
    predictions = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        matrices = [random_turns(len(structures)) for _ in range(turns)]
    for number, matrix in enumerate(matrices):
        found, _ = committee_prediction(members, turned(structures, matrix))
        of_atoms = matrix[structures.batch]
        forces = torch.einsum("nx,nyx->ny", found["forces"], of_atoms)
        stress = matrix @ found["stress"] @ matrix.mT
        predictions.append((found["energy"] / structures.n_atoms, forces, stress))
        if on_batch is not None:
            on_batch(number + 1, turns)
    energy, forces, stress = (torch.stack(parts) for parts in zip(*predictions, strict=True))
    periodic = stress.isfinite().flatten(2).all(dim=2).all(dim=0)
    return EquivarianceErrors(
        structures=len(structures),
        turns=turns,
        energy=_deviation(energy),
        forces=_deviation(forces),
        stress=_deviation(stress[:, periodic]) if periodic.any() else None,
        residual=float(mean_residual(members, structures).median()),
    )


def turned(structures: Structures, matrix: Float[Tensor, "B 3 3"]) -> Structures:
    """Return structures that lie another way: rows of coordinates and cells times matrices."""
    positions = torch.einsum("nx,nxy->ny", structures.positions, matrix[structures.batch])
    return structures.replace(positions=positions, cell=structures.cell @ matrix)


def _deviation(values: Float[Tensor, "T *S"]) -> float:
    return float((values - values.mean(dim=0)).square().mean().sqrt())
