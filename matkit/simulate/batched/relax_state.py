"""Relaxation of many structures in lockstep: pure functions of their state.

``state = evaluated(init(...), ...)``, then over and over ``state = step(state, ...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.scopes import cat, scoped
from matkit.simulate.batched.cells import allowed_virial, cell_force, left_stress, strained
from matkit.simulate.batched.forces import Results
from matkit.simulate.batched.optimizers import OPTIMIZERS, history, resized
from matkit.simulate.batched.slots import padded, slots, unpadded
from matkit.simulate.batched.symmetrizing import (
    BatchedOperations,
    symmetric_forces,
    symmetric_stress,
)
from matkit.simulate.options import RelaxOptions
from matkit.structures import Structures


@dataclass(frozen=True, kw_only=True, eq=False)
class RelaxState(Structures):
    """Structures on their way to a minimum, each at a step of its own.

    Attributes:
        number: Which structure of the input [B].
        steps: Steps done [B].
        first_cell: Cell at the beginning [B, 3, 3], Å.
        log_strain: U with ``cell = first_cell exp(U)ᵀ`` [B, 3, 3].
        fixed: Atoms that are held [N].
        energy: [B], eV.
        forces: As predicted [N, 3], eV/Å.
        stress: As predicted [B, 3, 3], eV/Å³.
        drive: Forces on the coordinates of the atoms, with constraints [N, 3], eV/Å.
        cell_drive: Forces on those of the cell [B, 3, 3], eV.
        max_force: Largest force on a free atom [B], eV/Å.
        max_stress: Largest component of the stress that may relax [B], eV/Å³; zero if none may.
        memory: That of the optimiser.
    """

    number: Int[Tensor, " B"] = scoped("system")
    steps: Int[Tensor, " B"] = scoped("system")
    first_cell: Float[Tensor, "B 3 3"] = scoped("system")
    log_strain: Float[Tensor, "B 3 3"] = scoped("system")
    fixed: Bool[Tensor, " N"] = scoped("atom")
    energy: Float[Tensor, " B"] = scoped("system")
    forces: Float[Tensor, "N 3"] = scoped("atom")
    stress: Float[Tensor, "B 3 3"] = scoped("system")
    drive: Float[Tensor, "N 3"] = scoped("atom")
    cell_drive: Float[Tensor, "B 3 3"] = scoped("system")
    max_force: Float[Tensor, " B"] = scoped("system")
    max_stress: Float[Tensor, " B"] = scoped("system")
    memory: Mapping[str, Tensor] = scoped("system", default_factory=dict)

    def padded_drive(self) -> Tensor:
        """Return the forces on all coordinates in slots [B, S, 3]."""
        return padded(self.cell_drive, self.drive, self)


def init(
    structures: Structures,
    options: RelaxOptions,
    number: Tensor | None = None,
    fixed: Tensor | None = None,
) -> RelaxState:
    """Return the state of structures that were not computed yet.

    Args:
        structures: Batch.
        options: How to relax.
        number: Which structures of the input they are [B]; all in their order if not given.
        fixed: Atoms that are held [N]; none if not given.
    """
    if number is None:
        number = torch.arange(len(structures), device=structures.device)
    if fixed is None:
        fixed = torch.zeros_like(structures.species, dtype=torch.bool)
    zero = torch.zeros_like(structures.cell)
    fields = {name: getattr(structures, name) for name in Structures._scopes()}
    return RelaxState(
        **fields,
        number=number,
        steps=torch.zeros_like(number),
        first_cell=structures.cell,
        log_strain=zero,
        fixed=fixed,
        energy=zero[:, 0, 0],
        forces=torch.zeros_like(structures.positions),
        stress=zero,
        drive=torch.zeros_like(structures.positions),
        cell_drive=zero,
        max_force=zero[:, 0, 0],
        max_stress=zero[:, 0, 0],
        memory=OPTIMIZERS[options.optimizer].begin(padded(zero, structures.positions, structures)),
    )


def evaluated(
    state: RelaxState,
    results: Results,
    options: RelaxOptions,
    group: BatchedOperations | None = None,
) -> RelaxState:
    """Return the state with what was computed for it.

    Args:
        state: Structures.
        results: Their energies, forces and stresses.
        options: What may relax.
        group: Symmetry to keep.
    """
    free, stress = results.forces, results.stress
    if group is not None:
        free = symmetric_forces(free, state, group)
        stress = symmetric_stress(stress, state, group)
    free = torch.where(state.fixed[:, None], 0.0, free)
    drive, cell_drive, left = free, torch.zeros_like(stress), torch.zeros_like(stress)
    if options.relax_cell:
        mode = options.cell_mode
        virial = allowed_virial(stress, state.volume, state.pbc, options.pressure, mode)
        cell_drive = cell_force(virial, state.log_strain, state.n_atoms, mode)
        drive = torch.einsum("nx,nxy->ny", free, strained(state.log_strain)[state.batch])
        left = left_stress(virial / state.volume[:, None, None], mode)
    lengths = free.norm(dim=1)
    return state.replace(
        energy=results.energy,
        forces=results.forces,
        stress=results.stress,
        drive=drive,
        cell_drive=cell_drive,
        max_force=lengths.new_zeros(len(state)).scatter_reduce(0, state.batch, lengths, "amax"),
        max_stress=left.abs().flatten(1).amax(dim=1),
    )


def joined(first: RelaxState, second: RelaxState) -> RelaxState:
    """Return one state of both, whose memories may have other sizes."""
    size = max(slots(first), slots(second))
    steps = max(history(first.memory), history(second.memory))
    both = [s.replace(memory=resized(s.memory, size, steps)) for s in (first, second)]
    return cat(both)


def kept(state: RelaxState, which: list[int]) -> RelaxState:
    """Return the state of some structures, with memories as small as they need."""
    part = state.index(which)
    steps = min(history(part.memory), int(part.steps.max()))
    return part.replace(memory=resized(part.memory, slots(part), steps))


def moved(state: RelaxState, options: RelaxOptions) -> RelaxState:
    """Return the state after a step of the optimiser; nothing is computed for it yet."""
    move, memory = OPTIMIZERS[options.optimizer].step(state.padded_drive(), dict(state.memory))
    by_cell, by_atom = unpadded(move, state)
    positions, cell, log_strain = state.positions + by_atom, state.cell, state.log_strain
    if options.relax_cell:
        log_strain = log_strain + by_cell / state.n_atoms[:, None, None]
        old, new = strained(state.log_strain), strained(log_strain)
        back = torch.linalg.inv(old).mT[state.batch]
        carried_back = torch.einsum("nx,nxy->ny", state.positions, back) + by_atom
        positions = torch.einsum("nx,nxy->ny", carried_back, new.mT[state.batch])
        cell = state.first_cell @ new.mT
    return state.replace(
        positions=positions,
        cell=cell,
        log_strain=log_strain,
        memory=memory,
        steps=state.steps + 1,
    )


def step(
    state: RelaxState,
    compute: Callable[[Structures], Results],
    options: RelaxOptions,
    group: BatchedOperations | None = None,
) -> RelaxState:
    """Return the state after a step of the optimiser, computed there.

    Args:
        state: Structures that were computed.
        compute: Gives energies, forces and stresses of a batch, such as `BatchForces`.
        options: What may relax, and how.
        group: Symmetry to keep.
    """
    new = moved(state, options)
    return evaluated(new, compute(new), options, group)
