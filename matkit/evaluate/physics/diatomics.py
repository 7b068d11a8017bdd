"""Energies of pairs of atoms over their distance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols, covalent_radii
from scipy.signal import find_peaks

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField
from matkit.evaluate.physics.verdicts import Measure, PhysicsCheck
from matkit.evaluator import predict

DIATOMIC = "diatomic"
# Distances begin at this part of the sum of the covalent radii, and end this far behind the cutoff.
NEAREST, BEYOND = 0.5, 0.2
POINTS = 161
# Where the cutoff is not known, Å.
USUAL_CUTOFF = 6.0
# Wells shallower than this, in eV, are no second minimum.
SHALLOW = 0.02
# Bounds: eV of repulsion at the nearest distance, and meV that energies and forces may disagree.
LEAST_REPULSION, LARGEST_JUMP = 1.0, 10.0


def pairs_of(groups: Sequence[Sequence[int]], count: int) -> list[tuple[int, int]]:
    """Return at most `count` pairs of elements: those within each group first, then across."""
    together = [z for group in groups for z in group]
    pairs = [
        (min(pair), max(pair))
        for group in (*groups, together)
        for pair in combinations_with_replacement(dict.fromkeys(group), 2)
    ]
    return list(dict.fromkeys(pairs))[:count]


def pair_name(pair: tuple[int, int]) -> str:
    """Return e.g. ``Na-Cl``."""
    return "-".join(chemical_symbols[z] for z in pair)


def diatomic(pair: tuple[int, int], calc: BaseCalculator) -> PhysicsCheck:
    """Check that two atoms repel each other at short range, have one well, and no jumps.

    Args:
        pair: Atomic numbers.
        calc: Calculator of the model.
    """
    name = pair_name(pair)
    cutoff = _cutoff(calc)
    distances = np.linspace(NEAREST * covalent_radii[list(pair)].sum(), cutoff + BEYOND, POINTS)
    frames = [
        Atoms(pair, [[0, 0, 0], [r, 0, 0]]) for r in (*distances, cutoff - 1e-4, cutoff + 1e-4)
    ]
    energies, pulls = _evaluated(frames, calc)
    curve = energies[:POINTS]
    if not (np.isfinite(energies).all() and np.isfinite(pulls).all()):
        return PhysicsCheck(DIATOMIC, name, failure="an energy or force is not a number")
    facts = {"distance": distances.tolist(), "energy": (curve - curve[-1]).tolist()}
    lowest = int(np.argmin(curve))
    measures = [
        Measure("minima", _minima(curve), high=1),
        Measure("repulsion", float(curve[0] - curve.min()), "eV", low=LEAST_REPULSION),
        Measure(
            "jump", 1000 * _jump(distances, curve, pulls[:POINTS], lowest), "meV", high=LARGEST_JUMP
        ),
        Measure(
            "step at the cutoff", 1000 * float(abs(energies[-1] - energies[-2])), "meV", high=1.0
        ),
    ]
    if 0 < lowest < POINTS - 1:
        facts |= {"bond_length": float(distances[lowest]), "depth": float(curve[-1] - curve.min())}
    return PhysicsCheck(DIATOMIC, name, measures, facts)


def _minima(curve: np.ndarray) -> int:
    """Return the number of wells, one at the nearest distance included."""
    walled = np.concatenate([[np.inf], curve])
    return len(find_peaks(-walled, prominence=SHALLOW)[0])


def _jump(distances: np.ndarray, curve: np.ndarray, pulls: np.ndarray, lowest: int) -> float:
    """Return how much the energy differs from the work of the forces between points, at most, eV.

    Simpson's rule over two intervals. Not on the steep wall, where the rule itself is too rough.
    """
    width = distances[1] - distances[0]
    work = width / 3 * (pulls[:-2] + 4 * pulls[1:-1] + pulls[2:])
    wrong = np.abs(curve[2:] - curve[:-2] - work)
    begin = np.argmax(curve - curve[lowest] < LEAST_REPULSION)
    return float(wrong[begin:].max(initial=0.0))


def _cutoff(calc: BaseCalculator) -> float:
    if isinstance(calc, MatkitCalculator):
        return max(member.cutoff for member in calc.potentials)
    return USUAL_CUTOFF


def _evaluated(frames: Sequence[Atoms], calc: BaseCalculator) -> tuple[np.ndarray, np.ndarray]:
    """Return energies in eV and slopes dE/dr in eV/Å of pairs of atoms along x."""
    if isinstance(calc, MatkitCalculator) and len(calc.potentials) == 1:
        (member,) = calc.potentials
        assert isinstance(member, ForceField)
        found = predict(member, from_ase(frames), ("energy", "forces"))
        return found["energy"].numpy(), -found["forces"].numpy()[1::2, 0]
    energies, slopes = [], []
    for frame in frames:
        frame.calc = calc
        energies.append(frame.get_potential_energy())
        slopes.append(-frame.get_forces()[1, 0])
    return np.array(energies), np.array(slopes)
