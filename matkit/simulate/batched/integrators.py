"""Molecular dynamics of many structures in lockstep: pure functions of their state.

A step is ``drift``, the forces of where the atoms are then, and ``kick``; the formulas are those of
ASE's integrators of the same names, in ASE's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from ase import units
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.scopes import scoped
from matkit.simulate.batched.forces import Results
from matkit.simulate.options import MDOptions
from matkit.structures import Structures


@dataclass(frozen=True, kw_only=True, eq=False)
class DynamicsState(Structures):
    """Structures that move.

    Attributes:
        number: Which structure of the input [B].
        momenta: [N, 3], in ASE's unit.
        masses: [N, 1], u.
        fixed: Atoms that are held [N, 1].
        freedom: Degrees of freedom [B].
        energy: [B], eV.
        forces: As predicted [N, 3], eV/Å.
        stress: [B, 3, 3], eV/Å³; not a number where it is not defined.
        transferred: Energy that a thermostat has given so far [B], eV.
    """

    number: Int[Tensor, " B"] = scoped("system")
    momenta: Float[Tensor, "N 3"] = scoped("atom")
    masses: Float[Tensor, "N 1"] = scoped("atom")
    fixed: Bool[Tensor, "N 1"] = scoped("atom")
    freedom: Float[Tensor, " B"] = scoped("system")
    energy: Float[Tensor, " B"] = scoped("system")
    forces: Float[Tensor, "N 3"] = scoped("atom")
    stress: Float[Tensor, "B 3 3"] = scoped("system")
    transferred: Float[Tensor, " B"] = scoped("system")

    @property
    def free_forces(self) -> Tensor:
        """Forces on atoms that may move [N, 3], eV/Å."""
        return torch.where(self.fixed, 0.0, self.forces)

    @property
    def kinetic_energy(self) -> Tensor:
        """Kinetic energy [B], eV."""
        each = (self.momenta.square() / (2 * self.masses)).sum(dim=1)
        return each.new_zeros(len(self)).index_add(0, self.batch, each)

    @property
    def temperature(self) -> Tensor:
        """Temperature over the degrees of freedom [B], K."""
        return 2 * self.kinetic_energy / (units.kB * self.freedom)


class ThermostatNoise(NamedTuple):
    """Random numbers of one step.

    Attributes:
        first: Standard normal numbers, [N, 3] for `langevin`, [B] for `bussi`.
        second: For `langevin` the same again; for `bussi` sums of the squares of as many as there
            are other degrees of freedom [B].
    """

    first: Tensor
    second: Tensor


class Bath(NamedTuple):
    """Time step, friction, and k_B T of every structure [B], in ASE's units."""

    timestep: float
    friction: float
    heat: Tensor


def bath(options: MDOptions, steps: Sequence[int]) -> Bath:
    """Return what drives structures to the steps that are their next ones."""
    kelvin = torch.tensor([options.target(step) for step in steps], dtype=torch.float64)
    return Bath(options.timestep * units.fs, options.friction / units.fs, kelvin * units.kB)


def evaluated(state: DynamicsState, results: Results) -> DynamicsState:
    """Return the state with what was computed for it."""
    return state.replace(energy=results.energy, forces=results.forces, stress=results.stress)


def drift_verlet(state: DynamicsState, _noise: ThermostatNoise | None, bath: Bath) -> DynamicsState:
    """Take the first half of velocity Verlet: half a kick, and the way."""
    momenta = state.momenta + 0.5 * bath.timestep * state.free_forces
    positions = state.positions + bath.timestep * momenta / state.masses
    return state.replace(momenta=momenta, positions=positions)


def kick_verlet(state: DynamicsState, _noise: ThermostatNoise | None, bath: Bath) -> DynamicsState:
    """Take the second half of velocity Verlet: the other half of the kick."""
    return state.replace(momenta=state.momenta + 0.5 * bath.timestep * state.free_forces)


def drift_bussi(state: DynamicsState, noise: ThermostatNoise | None, bath: Bath) -> DynamicsState:
    """Scale the velocities (Bussi, Donadio and Parrinello 2007, eq. A7), then as in Verlet."""
    assert noise is not None
    kinetic = state.kinetic_energy
    decay = torch.exp(torch.as_tensor(-bath.timestep * bath.friction, dtype=kinetic.dtype))
    wanted = 0.5 * bath.heat * state.freedom
    share = (1 - decay) * wanted / kinetic / state.freedom
    squares = share * (noise.second + noise.first.square())
    factor = (decay + squares + 2 * noise.first * (decay * share).sqrt()).sqrt()
    scaled = state.replace(
        momenta=state.momenta * factor[state.batch].unsqueeze(1),
        transferred=state.transferred + (factor.square() - 1) * kinetic,
    )
    return drift_verlet(scaled, None, bath)


def drift_langevin(
    state: DynamicsState, noise: ThermostatNoise | None, bath: Bath
) -> DynamicsState:
    """Take the first half of a Langevin step (Vanden-Eijnden and Ciccotti 2006, eq. 23)."""
    assert noise is not None
    way = _noise_of_positions(state, noise, bath)
    velocity = _pushed(state.momenta / state.masses, state, noise, bath)
    there = state.positions + bath.timestep * velocity + way
    positions = torch.where(state.fixed, state.positions, there)
    velocity = (positions - state.positions - way) / bath.timestep
    return state.replace(positions=positions, momenta=velocity * state.masses)


def kick_langevin(state: DynamicsState, noise: ThermostatNoise | None, bath: Bath) -> DynamicsState:
    """Take the second half of a Langevin step, with the same noise."""
    assert noise is not None
    velocity = _pushed(state.momenta / state.masses, state, noise, bath)
    return state.replace(momenta=torch.where(state.fixed, 0.0, velocity * state.masses))


def _noise_of_positions(state: DynamicsState, noise: ThermostatNoise, bath: Bath) -> Tensor:
    return bath.timestep**1.5 * _width(state, bath) / (2 * 3**0.5) * noise.second


def _pushed(velocity: Tensor, state: DynamicsState, noise: ThermostatNoise, bath: Bath) -> Tensor:
    """Return velocities [N, 3] after half a step of forces, friction and noise."""
    step, friction, width = bath.timestep, bath.friction, _width(state, bath)
    push = step / 2 - step**2 * friction / 8
    drag = step * friction / 2 - step**2 * friction**2 / 8
    kick = step**0.5 * width / 2 - step**1.5 * friction * width / 8
    along = friction / 2 * step**1.5 * width / (2 * 3**0.5)
    random = kick * noise.first - along * noise.second
    return velocity + (push * state.free_forces / state.masses - drag * velocity + random)


def _width(state: DynamicsState, bath: Bath) -> Tensor:
    heat = bath.heat[state.batch].unsqueeze(1)
    return (2 * heat * bath.friction / state.masses).sqrt()


Half = Callable[[DynamicsState, ThermostatNoise | None, Bath], DynamicsState]


class BatchedIntegrator(NamedTuple):
    """The two halves of a step, with the forces in between."""

    drift: Half
    kick: Half


INTEGRATORS = {
    "nve": BatchedIntegrator(drift_verlet, kick_verlet),
    "langevin": BatchedIntegrator(drift_langevin, kick_langevin),
    "bussi": BatchedIntegrator(drift_bussi, kick_verlet),
}


def step(
    state: DynamicsState,
    compute: Callable[[Structures], Results],
    method: str,
    noise: ThermostatNoise | None,
    constants: Bath,
) -> tuple[DynamicsState, Results]:
    """Return the state after a step of molecular dynamics, and what was computed for it.

    Args:
        state: Structures that were computed.
        compute: Gives energies, forces and stresses of a batch, such as `BatchForces`.
        method: `nve`, `langevin` or `bussi`.
        noise: Random numbers of the step; None for `nve`.
        constants: What `bath` returns.
    """
    drift, kick = INTEGRATORS[method]
    moved = drift(state, noise, constants)
    results = compute(moved)
    return kick(evaluated(moved, results), noise, constants), results
