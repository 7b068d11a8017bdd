"""Whether a stationary point can be that of a molecule, and of one that the model was made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import vesin
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols, covalent_radii

# No two nuclei at rest are nearer than this part of the sum of their covalent radii: the shortest
# bonds, those of N2 and CO, have 0.77. Beyond the second nobody is said to be near.
CLOSEST, REACH = 0.5, 2.0
# Half-broken bonds of transition states are shorter than this part.
APART = 1.5
# Of the structures with a pair, those that may have it nearer than the model is said to know it.
RARE = 1e-3
# What was near in training may be a little nearer in use.
MARGIN = 0.9
# Stands in a domain for all pairs that it does not name.
OTHER = "other"
# No molecule vibrates faster (H2: 4401), 1/cm; imaginary modes are not steeper.
FASTEST = 5000.0
# No atom is bound by more, or lifted higher, than by this energy, eV.
STRONGEST = 25.0
# Displacement for the check of a Hessian, Å, and how much it may differ from forces.
STEP, DISAGREEMENT = 1e-3, 0.5


def implausible(
    atoms: Atoms, calc: BaseCalculator, frequencies: np.ndarray | None = None
) -> list[str]:
    """Return why a stationary point is none of a molecule that the model knows; empty if it may be.

    Args:
        atoms: Stationary point with its energy.
        calc: What it was found with.
        frequencies: Wavenumbers of its modes [M], 1/cm, imaginary ones negative.
    """
    problems = [too_close(atoms), unknown_contacts(atoms, calc), _energy(atoms, calc)]
    if frequencies is not None and len(fast := frequencies[np.abs(frequencies) > FASTEST]):
        value = float(fast[np.argmax(np.abs(fast))])
        unit = "i 1/cm" if value < 0 else " 1/cm"
        problems.append(f"a mode of {abs(value):.0f}{unit}: none is above {FASTEST:.0f} 1/cm")
    return [text for text in problems if text]


def too_close(atoms: Atoms) -> str:
    """Return which two nuclei are as good as fused, empty if none are."""
    i, j, distances, parts = _contacts(atoms)
    if not len(parts) or parts.min() >= CLOSEST:
        return ""
    nearest = int(np.argmin(parts))
    return (
        f"{_pair(atoms, i[nearest], j[nearest])} are {distances[nearest]:.3f} Å apart, "
        f"{parts[nearest]:.2f} of the sum of their covalent radii: no molecule is like that"
    )


def lone_atoms(atoms: Atoms) -> str:
    """Return which atoms of several are bonded to none, empty if all are."""
    i, j, _, parts = _contacts(atoms)
    bonded = np.union1d(i[parts < APART], j[parts < APART])
    lone = np.setdiff1d(np.arange(len(atoms)), bonded)
    if len(atoms) == 1 or not len(lone):
        return ""
    named = ", ".join(f"{atoms.symbols[k]}{k}" for k in lone[:5])
    return f"{named}{', ...' if len(lone) > 5 else ''} bonded to no other atom: it has come apart"


def unknown_contacts(atoms: Atoms, calc: BaseCalculator | None) -> str:
    """Return which two atoms are nearer than any that the model was trained on, empty if none are.

    The file of a model may say in its card, as `domain`, how near the atoms of every two elements
    came in its training, as parts of the sum of their covalent radii; `other` is what holds for
    pairs that are not named.
    """
    closest = _closest(calc)
    if not closest:
        return ""
    i, j, distances, parts = _contacts(atoms)
    other = closest.get(OTHER, 0.0)
    limits = np.array([closest.get(kind, other) for kind in _kinds(atoms, i, j)])
    if not len(parts) or (parts >= MARGIN * limits).all():
        return ""
    worst = int(np.argmin(parts - limits))
    scale = distances[worst] / parts[worst]
    return (
        f"outside of the model's domain: {_pair(atoms, i[worst], j[worst])} are "
        f"{distances[worst]:.3f} Å apart, hardly any in its training below "
        f"{limits[worst] * scale:.2f}"
    )


def closest_contacts(structures: Iterable[Atoms]) -> dict[str, float]:
    """Return how near the atoms of every two elements come, as parts of their covalent radii.

    Pairs that are somewhere together, but never near, have `REACH`. One in a thousand of the
    structures that have a pair may have it nearer: a few clashes teach nothing about a bond.
    """
    found: dict[str, list[float]] = {}
    for atoms in structures:
        counts = Counter(atoms.get_chemical_symbols())
        together = combinations_with_replacement(counts, 2)
        nearest = {
            _sorted_kind(f"{first}-{second}"): REACH
            for first, second in together
            if first != second or counts[first] > 1
        }
        i, j, _, parts = _contacts(atoms)
        for kind, part in zip(_kinds(atoms, i, j), parts.tolist(), strict=True):
            nearest[kind] = min(part, nearest.get(kind, REACH))
        for kind, part in nearest.items():
            found.setdefault(kind, []).append(part)
    return {
        kind: round(sorted(parts)[int(RARE * len(parts))], 3)
        for kind, parts in sorted(found.items())
    }


def disagreement(
    atoms: Atoms, calc: BaseCalculator, hessian: np.ndarray, free: list[int] | None
) -> str:
    """Return that a Hessian is not the derivative of the forces, empty if it is, roughly.

    Args:
        atoms: Structure.
        calc: Gives the forces.
        hessian: Second derivatives [3N, 3N], eV/Å².
        free: Atoms that may move; None for all.
    """
    moving = slice(None) if free is None else free
    direction = np.zeros_like(atoms.positions)
    direction[moving] = np.random.default_rng(0).normal(size=direction[moving].shape)
    direction = direction / np.linalg.norm(direction)
    work = atoms.copy()
    work.set_constraint()
    work.calc = calc
    ends: list[np.ndarray] = []
    for sign in (1, -1):
        work.positions = atoms.positions + sign * STEP * direction
        ends.append(work.get_forces()[moving])
    expected = (ends[1] - ends[0]) / (2 * STEP)
    found = (hessian @ direction.ravel()).reshape(-1, 3)[moving]
    off, size = (float(np.linalg.norm(part)) for part in (found - expected, expected))
    if off <= DISAGREEMENT * max(size, 1.0):
        return ""
    return (
        f"the Hessian does not agree with the forces: along a trial direction it is off by "
        f"{off:.3g} of {size:.3g} eV/Å²"
    )


def _contacts(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that are near: both numbers, Å, and parts of the sum of covalent radii."""
    radii = covalent_radii[atoms.numbers]
    cutoff = max(2 * REACH * float(radii.max()), REACH)
    search = vesin.NeighborList(cutoff=cutoff, full_list=False)
    i, j, distances = search.compute(
        atoms.positions, atoms.cell.complete().array, atoms.pbc, quantities="ijd", copy=True
    )
    parts = distances / (radii[i] + radii[j])
    near = parts < REACH
    return i[near].astype(int), j[near].astype(int), distances[near], parts[near]


def _closest(calc: BaseCalculator | None) -> dict[str, float]:
    domain = getattr(calc, "info", {}).get("domain")
    closest: Any = domain.get("closest") if isinstance(domain, Mapping) else None
    if not isinstance(closest, Mapping):
        return {}
    # A card may come from anybody.
    return {
        _sorted_kind(kind): float(part)
        for kind, part in closest.items()
        if isinstance(part, int | float) and set(kind.split("-")) <= {OTHER, *chemical_symbols}
    }


def _kinds(atoms: Atoms, i: np.ndarray, j: np.ndarray) -> list[str]:
    symbols = atoms.get_chemical_symbols()
    return [_sorted_kind(f"{symbols[a]}-{symbols[b]}") for a, b in zip(i, j, strict=True)]


def _sorted_kind(kind: str) -> str:
    return "-".join(sorted(kind.split("-"), key=[*chemical_symbols, OTHER].index))


def _pair(atoms: Atoms, i: np.integer, j: np.integer) -> str:
    return f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j}"


def _energy(atoms: Atoms, calc: BaseCalculator) -> str:
    """Return that atoms are bound too strongly for any chemistry, empty if they are not."""
    energy = float(atoms.get_potential_energy())
    if not np.isfinite(energy):
        return f"the energy is {energy}"
    if not hasattr(calc, "potentials"):  # single atoms may take a calculator of others hours
        return ""
    alone = {z: _alone(int(z), calc) for z in np.unique(atoms.numbers)}
    bound = (energy - sum(alone[z] for z in atoms.numbers)) / len(atoms)
    if abs(bound) <= STRONGEST:
        return ""
    side = "below" if bound < 0 else "above"
    return f"the energy is {abs(bound):.0f} eV per atom {side} that of separate atoms"


def _alone(number: int, calc: BaseCalculator) -> float:
    atom = Atoms([number])
    atom.calc = calc
    return float(atom.get_potential_energy())
