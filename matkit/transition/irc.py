"""Intrinsic reaction coordinate: the steepest descent from a saddle point to both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float
from scipy.optimize import brentq

from matkit.hessians.calculators import hessian
from matkit.hessians.coordinates import internal_basis, root_masses
from matkit.hessians.free_atoms import free_atoms
from matkit.simulate.frames import freeze
from matkit.simulate.optimizers.updates import bofill

Vector = Float[np.ndarray, " K"]
Matrix = Float[np.ndarray, "D D"]

# Why a branch ended.
End = Literal["minimum", "max_points"]
# Points and weights of Gauss and Legendre on [0, 1].
NODES, WEIGHTS = (np.polynomial.legendre.leggauss(12) + np.array([[1], [0]])) / 2
# The path has come to the minimum of the model if it goes on for less than this part of a step.
FINISHED = 1e-6


@dataclass(frozen=True)
class PathOptions:
    """How a path is followed.

    Attributes:
        method: Where Hessians come from.
        every: Points between Hessians; Bofill's update in between.
        step: Distance of points, √amu Å.
        points: Most points on each side.
        fmax: The path has come to a minimum if no force is larger, eV/Å.
    """

    method: str
    every: int = 5
    step: float = 0.1
    points: int = 100
    fmax: float = 0.05


@dataclass(frozen=True)
class Branch:
    """One side of a path.

    Attributes:
        frames: Structures with energy and forces, from the saddle point on (not in it).
        end: `minimum`, or `max_points` if it did not come to one.
    """

    frames: list[Atoms]
    end: End


def follow(
    saddle: Atoms,
    calc: BaseCalculator,
    mode: Float[np.ndarray, "N 3"],
    options: PathOptions,
    on_point: Callable[[Atoms], None] | None = None,
) -> Branch:
    """Follow the path of steepest descent in mass-weighted coordinates to one side.

    Fukui 1981 (https://doi.org/10.1021/ar00072a001), integrated in the local quadratic
    approximation of Page and McIver 1988 (https://doi.org/10.1063/1.454172): along each
    eigenvector of the Hessian, ``dq/dt = -(g + h q)`` is solved exactly.

    Args:
        saddle: Saddle point.
        calc: Any ASE calculator.
        mode: Displacements along the imaginary mode [N, 3]; the path begins with their sign.
        options: See `PathOptions`.
        on_point: Called with every point.
    """
    frames: list[Atoms] = []
    for frame in _points(saddle, calc, mode, options):
        if frames and _energy(frame) > _energy(frames[-1]):
            return Branch(frames, "minimum")  # beyond it, by less than a step
        frames.append(frame)
        if on_point is not None:
            on_point(frame)
        if _at_the_foot(frames, options.fmax):
            return Branch(frames, "minimum")
        if len(frames) == options.points:
            return Branch(frames, "max_points")
    return Branch(frames, "minimum")


def _points(
    saddle: Atoms, calc: BaseCalculator, mode: Float[np.ndarray, "N 3"], options: PathOptions
) -> Iterator[Atoms]:
    """Give one point after another, until the model has its minimum within the next step."""
    work, free, root = saddle.copy(), free_atoms(saddle), root_masses(saddle)
    work.calc = calc
    start = root * mode.ravel()
    move = options.step * start / np.linalg.norm(start)
    matrix: Matrix | None = None
    gradient = np.zeros(len(root))
    for count in range(options.points):
        work.set_positions(work.positions + (move / root).reshape(-1, 3))
        frame = freeze(work)
        before, gradient = gradient, -frame.get_forces().ravel() / root
        if matrix is None or count % options.every == 0:
            matrix = hessian(work, calc, options.method, free) / np.outer(root, root)
        else:
            matrix = bofill(matrix, move, gradient - before)
        yield frame
        basis = internal_basis(work, free, mass_weighted=True)
        values, vectors = np.linalg.eigh(basis.T @ matrix @ basis)
        modes = basis @ vectors
        move = modes @ quadratic_descent(values, modes.T @ gradient, options.step)
        if np.linalg.norm(move) < FINISHED * options.step:
            return


def quadratic_descent(values: Vector, gradient: Vector, length: float) -> Vector:
    """Return the displacement [K] along the steepest descent of a quadratic energy.

    Args:
        values: Eigenvalues of the Hessian [K].
        gradient: Gradient along its eigenvectors [K].
        length: Arc length to go; less if the minimum comes before.
    """
    if not gradient.any():
        return np.zeros_like(gradient)
    stiffest, steepest = np.abs(values).max(), np.linalg.norm(gradient)
    begin, gone = 0.0, 0.0
    span = 0.1 / max(stiffest, steepest / length)
    while True:
        more = _arc(values, gradient, begin, begin + span)
        if gone + more >= length:
            break
        if more < FINISHED * length:
            return _displacement(values, gradient, begin + span)
        begin, gone, span = begin + span, gone + more, 2 * span
    rest = length - gone
    if more > rest:
        span = brentq(lambda t: _arc(values, gradient, begin, begin + t) - rest, 0.0, span)
    return _displacement(values, gradient, begin + span)


def _arc(values: Vector, gradient: Vector, begin: float, end: float) -> float:
    """Return the arc length between two values of the parameter t of the descent."""
    times = begin + (end - begin) * NODES
    moving = gradient != 0
    speeds = np.linalg.norm(gradient[moving] * np.exp(-np.outer(times, values[moving])), axis=1)
    return float((end - begin) * (WEIGHTS @ speeds))


def _displacement(values: Vector, gradient: Vector, time: float) -> Vector:
    """Return ``-g (1 - exp(-h t)) / h`` [K], with the limit ``-g t`` for h = 0."""
    flat = np.abs(values * time) < 1e-12
    safe = np.where(flat, 1.0, values)
    return -gradient * np.where(flat, time, -np.expm1(-safe * time) / safe)


def _at_the_foot(frames: Sequence[Atoms], fmax: float) -> bool:
    """Return whether forces are small again; they are small near the saddle point too."""
    forces = [np.linalg.norm(frame.get_forces(), axis=1).max() for frame in frames]
    return bool(forces[-1] < fmax <= max(forces))


def _energy(frame: Atoms) -> float:
    return float(frame.get_potential_energy())
