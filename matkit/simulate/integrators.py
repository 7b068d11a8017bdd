"""ASE's integrators by name, and the part of their state that atoms do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from matkit.errors import ConfigError, SimulationError
from matkit.simulate.options import MDOptions

CHAIN = ("_thermostat._eta", "_thermostat._p_eta")
BAROSTAT = ("_barostat._xi", "_barostat._p_xi", "_eps", "_p_eps", "_cell0", "_volume0")
STATE = {
    "nve": (),
    "langevin": (),
    "bussi": ("transferred_energy",),
    "nose-hoover": CHAIN,
    "npt": (*CHAIN, *BAROSTAT),
}


def integrator(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> MolecularDynamics:
    """Return the integrator that `options` ask for.

    Velocity Verlet; Langevin with both halves of the noise (Vanden-Eijnden and Ciccotti 2006);
    stochastic velocity rescaling (Bussi 2007); Nosé-Hoover chains of three (Martyna 1992); and
    for npt the isotropic barostat of Martyna, Tobias and Klein (1994). The total momentum is
    free in Langevin dynamics.
    """
    method, step = options.method, options.timestep * units.fs
    relaxation = units.fs / options.friction
    kelvin = options.temperature
    if method == "nve":
        return VelocityVerlet(atoms, step)
    if method == "langevin":
        return Langevin(
            atoms, step, temperature_K=kelvin, friction=1 / relaxation, fixcm=False, rng=rng
        )
    if method == "bussi":
        return Bussi(atoms, step, temperature_K=kelvin, taut=relaxation, rng=rng)
    if method == "nose-hoover":
        return NoseHooverChainNVT(atoms, step, temperature_K=kelvin, tdamp=relaxation)
    return IsotropicMTKNPT(
        atoms,
        step,
        temperature_K=kelvin,
        pressure_au=options.pressure,
        tdamp=relaxation,
        pdamp=options.barostat_time * units.fs,
    )


def at_temperature(
    dynamics: MolecularDynamics, options: MDOptions, step: int, rng: np.random.Generator
) -> MolecularDynamics:
    """Return an integrator that goes on at the target temperature of a step.

    All that depends on the temperature follows from the step alone, so that a restarted ramp is the
    one that was not stopped.
    """
    present = options.model_copy(update={"temperature": options.target(step)})
    further = integrator(dynamics.atoms, present, rng)
    set_state(further, options.method, get_state(dynamics, options.method))
    return further


def get_state(dynamics: MolecularDynamics, method: str) -> dict[str, np.ndarray]:
    """Return copies of the integrator's own variables, by name."""
    return {name: np.array(_find(dynamics, name)) for name in STATE[method]}


def set_state(dynamics: MolecularDynamics, method: str, state: Mapping[str, np.ndarray]) -> None:
    """Put the integrator's own variables back.

    Raises:
        SimulationError: a variable is missing, because another version of ASE wrote the state, or
            has another shape.
    """
    for name in STATE[method]:
        if name not in state:
            raise SimulationError(
                f"The restart file lacks {name!r} of {method!r}; another version wrote it. Start "
                "anew from the last frame of the trajectory."
            )
        owner, _, attribute = name.rpartition(".")
        value, shape = state[name].copy(), np.shape(_find(dynamics, name))
        if value.shape != shape:
            raise SimulationError(
                f"The restart file is damaged: {name!r} of {method!r} has the shape {value.shape}, "
                f"expected {shape}. Start anew with overwrite."
            )
        setattr(_find(dynamics, owner), attribute, value if value.ndim else value[()])


def _find(owner: Any, dotted: str) -> Any:
    return reduce(getattr, filter(None, dotted.split(".")), owner)


def check_method(atoms: Atoms, method: str) -> None:
    """Raise if a method cannot treat a structure.

    Raises:
        ConfigError: atoms are fixed, which Nosé-Hoover chains cannot do, or npt was asked for a
            structure that is not periodic in three directions.
    """
    if method in ("nose-hoover", "npt") and atoms.constraints:
        raise ConfigError(
            f"{method} counts every atom as free, but the structure has constraints: "
            f"{', '.join(type(c).__name__ for c in atoms.constraints)}. Use the thermostat "
            "langevin or bussi, or remove the constraints."
        )
    if method == "npt" and not atoms.pbc.all():
        raise ConfigError(
            "npt needs a structure periodic in three directions; got pbc = "
            f"{atoms.pbc.tolist()}. Use nvt."
        )
