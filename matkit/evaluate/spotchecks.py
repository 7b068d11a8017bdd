"""Two quick looks at the physics of a model: an energy-volume curve and energy conservation."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from matkit.data.ase import to_ase
from matkit.data.dataset import Dataset
from matkit.errors import MatkitError
from matkit.simulate import MDOptions, md
from matkit.simulate.results import SimulationProgress
from matkit.units import GPA

# Volumes of the energy-volume curve as parts of the structure's own.
VOLUMES = np.linspace(0.85, 1.15, 13)
# A gap this wide, in Å, is vacuum: the volume of such a cell is not a property of the material.
VACUUM = 8.0
# Length of the dynamics in fs and its temperature in K.
LENGTH, TEMPERATURE = 1000.0, 300.0
# Fewer steps say nothing about the drift; slow models may take longer for them, by this factor.
FEWEST, PATIENCE = 100, 6.0
# Larger structures are picked only if there are no others: dynamics of them are short.
MANY_ATOMS = 64
ROWS = 100

Facts = dict[str, Any]


def pick_structure(dataset: Dataset) -> int | None:
    """Return the structure with the smallest largest force, of those with more than one atom.

    Structures of many atoms come after those of few, the smallest first, and those without forces
    last; None if all are single atoms.
    """
    structures = dataset.structures
    lengths = structures.atom["forces"].norm(dim=1).nan_to_num(nan=np.inf)
    largest = [float(lengths[a:b].max()) for a, b in _ranges(dataset)]
    counts = structures.n_atoms.tolist()
    several = [i for i in range(len(dataset)) if counts[i] > 1]
    return min(several, key=lambda i: (max(counts[i], MANY_ATOMS), largest[i]), default=None)


def bare_atoms(dataset: Dataset, i: int) -> Atoms:
    """Return one structure with its charge and spin but without labels."""
    part = dataset.structures.index([i])
    kept = {key: part.system[key] for key in ("charge", "spin") if key in part.system}
    return to_ase(part.replace(atom={}, system=kept))[0]


def energy_volume(atoms: Atoms, calc: BaseCalculator) -> Facts:
    """Return energies per atom of a crystal that is scaled as a whole.

    Positions are scaled with the cell and not relaxed. Where the curve has a minimum inside, the
    equation of Birch and Murnaghan (third order; Birch 1947, Phys. Rev. 71, 809) is fitted.

    Args:
        atoms: Structure.
        calc: Calculator of the model.

    Returns:
        `volume` in Å³ and `energy` in eV, both per atom; and perhaps `equilibrium_volume` in Å³
        per atom and `bulk_modulus` in GPa. Or the reason why it was `skipped`.
    """
    if not atoms.pbc.all():
        return {"skipped": "the structure is not periodic in three directions"}
    gap = widest_gap(atoms)
    if gap > VACUUM:
        return {"skipped": f"the cell has a gap of {gap:.1f} Å, so that its volume means little"}
    energies = []
    for part in VOLUMES:
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * np.cbrt(part), scale_atoms=True)
        scaled.calc = calc
        energies.append(float(scaled.get_potential_energy()) / len(atoms))
    if not np.isfinite(energies).all():
        return {"skipped": "an energy is not a number"}
    volumes = VOLUMES * atoms.get_volume() / len(atoms)
    curve = {"volume": volumes.tolist(), "energy": energies}
    return curve | fit_birch_murnaghan(volumes, np.array(energies))


def fit_birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> Facts:
    """Return volume and bulk modulus of the minimum; nothing if it is not inside the curve.

    The equation is a cubic polynomial in ``x = V^(-2/3)``, hence a linear fit.
    """
    lowest = int(np.argmin(energies))
    if lowest in (0, len(energies) - 1):
        return {}
    polynomial = np.polynomial.Polynomial.fit(volumes ** (-2 / 3), energies, 3)
    first, second = polynomial.deriv(1), polynomial.deriv(2)
    window = volumes[[lowest + 1, lowest - 1]] ** (-2 / 3)
    roots = [r.real for r in first.roots() if abs(r.imag) < 1e-9]
    inside = [r for r in roots if window[0] <= r <= window[1] and second(r) > 0]
    if len(inside) != 1:
        return {}
    x = float(inside[0])
    # B = V d²E/dV² with dx/dV = -(2/3) x / V, where dE/dx = 0.
    volume = x**-1.5
    modulus = float(second(x)) * (2 / 3 * x) ** 2 / volume
    return {"equilibrium_volume": volume, "bulk_modulus": modulus / GPA}


def nve(atoms: Atoms, calc: BaseCalculator, seconds: float) -> Facts:
    """Run up to 1 ps at constant energy from 300 K and return how well the energy is kept.

    The time step is 0.5 fs with hydrogen and 1 fs without.

    Args:
        atoms: Structure.
        calc: Calculator of the model.
        seconds: What the run may cost; it is shorter where steps are slow, but not below the
            fewest steps that tell something, unless these take `PATIENCE` times as long.

    Returns:
        `reason` why it ended, `steps`, `timestep` in fs, `drift` in meV/atom/ps, mean
        `temperature` in K, and by `time` in fs the change of the `total_energy` in meV/atom.
        Or the reason why it was `skipped`.
    """
    if len(atoms) < 2:
        return {"skipped": "a single atom does not move"}
    timestep = 0.5 if 1 in atoms.numbers else 1.0
    try:
        step = _time_of_step(atoms, calc)
        steps = min(int(LENGTH / timestep), max(FEWEST, int(seconds / step)))
        if FEWEST * step > PATIENCE * seconds:
            cost = f"{step:.2f} s, so that {FEWEST} steps take more than {PATIENCE * seconds:.0f} s"
            return {"skipped": f"one step takes {cost}"}
        return _run(atoms, calc, steps, timestep)
    except MatkitError as error:
        return {"skipped": str(error)}


def widest_gap(atoms: Atoms) -> float:
    """Return the widest slab without an atom along any lattice vector, in Å."""
    places = np.sort(atoms.get_scaled_positions(), axis=0)
    gaps = np.diff(np.vstack([places, places[:1] + 1]), axis=0)
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    # One layer of atoms and its image are as far apart as the cell is high.
    return float((gaps.max(axis=0) * heights).max())


def _time_of_step(atoms: Atoms, calc: BaseCalculator) -> float:
    """Return the seconds that forces take once everything is compiled and prepared."""
    work = atoms.copy()
    work.calc = calc
    work.get_forces()
    work.rattle(0.001, seed=0)
    begin = time.perf_counter()
    work.get_forces()
    return time.perf_counter() - begin


def _run(atoms: Atoms, calc: BaseCalculator, steps: int, timestep: float) -> Facts:
    rows: list[tuple[float, float, float]] = []
    every = max(1, steps // ROWS)

    def on_step(state: SimulationProgress) -> None:
        if state.step % every == 0 and state.temperature is not None:
            total = state.energy + 1.5 * len(atoms) * units.kB * state.temperature
            rows.append((state.step * timestep, total, state.temperature))

    options = MDOptions(
        ensemble="nve", steps=steps, timestep=timestep, temperature=TEMPERATURE, stats_every=every
    )
    result = md(atoms, calc, options, on_step=on_step)
    if not rows:
        return {"skipped": f"it could not begin: {result.message}"}
    times, totals, temperatures = (list(column) for column in zip(*rows, strict=True))
    return {
        "reason": result.reason,
        "message": result.message,
        "steps": result.steps,
        "timestep": timestep,
        "drift": result.drift,
        "temperature": float(np.mean(temperatures)),
        "time": times,
        "total_energy": [1000 * (total - totals[0]) / len(atoms) for total in totals],
    }


def _ranges(dataset: Dataset) -> list[tuple[int, int]]:
    offsets = dataset.structures.offsets.tolist()
    return list(itertools.pairwise(offsets))
