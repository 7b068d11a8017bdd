"""Optimisers that know curvatures: to minima and to saddle points, as optimisers of ASE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from ase import Atoms
from ase.optimize.optimize import Optimizer
from jaxtyping import Float

from matkit.hessians.calculators import check_method, hessian
from matkit.hessians.coordinates import internal_basis
from matkit.hessians.free_atoms import free_atoms
from matkit.simulate.optimizers.quadratic import model_changes, restricted_step
from matkit.simulate.optimizers.trust import ENERGY_NOISE, Trust, deviation
from matkit.simulate.optimizers.updates import bfgs, bofill

Vector = Float[np.ndarray, " D"]
Matrix = Float[np.ndarray, "D D"]


@dataclass(frozen=True)
class _Point:
    """Where the optimiser was: positions [3N] in Å, energy in eV, gradient [3N] in eV/Å."""

    positions: Vector
    energy: float
    gradient: Vector


@dataclass(frozen=True)
class _Move:
    """A step from a point, the Hessian there, and the changes [K] it makes expect, eV."""

    start: _Point
    matrix: Matrix
    step: Vector
    expected: np.ndarray


class SecondOrder(Optimizer, ABC):
    """What `RFO` and `PRFO` share: a Hessian, a radius of trust, and no rigid motions.

    A step after which the energy is far off the model is taken back; the next one from there is
    shorter. Of constraints only `FixAtoms` is possible.

    Args:
        atoms: Structure with a calculator; its cell stays as it is.
        method: Where Hessians come from: `autograd`, `finite-difference` or `predict`.
        every: Steps between Hessians; updates from the gradients are made between them.
        trust: Radius of trust to begin with; None for the usual one.
        logfile: As for ASE's optimisers.
        trajectory: As for ASE's optimisers.

    Raises:
        ConfigError: the calculator lacks the method.
        StructureError: there is a constraint other than `FixAtoms`.
    """

    usual: ClassVar[Trust]
    both_ways: ClassVar[bool]

    def __init__(
        self,
        atoms: Atoms,
        method: str = "autograd",
        every: int = 1000,
        trust: Trust | None = None,
        logfile: Any = None,
        trajectory: str | None = None,
    ) -> None:
        self.free = free_atoms(atoms)
        check_method(atoms.calc, method)
        self.method, self.every = method, every
        self.trust = self.usual if trust is None else trust
        self.hessian: Matrix | None = None
        self.hessians = 0
        self._age = 0
        self._move: _Move | None = None
        super().__init__(atoms, logfile=logfile, trajectory=trajectory)

    def step(self, gradient: Vector | None = None) -> None:
        """Move the atoms once."""
        here = self._look()
        if self._move is not None:
            here = self._judged(self._move, here)
        self._move = self._best_move(here, self._present_hessian())
        self._place(here.positions + self._move.step)

    def _look(self) -> _Point:
        gradient = self.optimizable.get_gradient()
        return _Point(self.optimizable.get_x(), float(self.optimizable.get_value()), gradient)

    def _present_hessian(self) -> Matrix:
        """Return the Hessian, a new one if the last is too old."""
        if self.hessian is None or self._age >= self.every:
            self.hessian, self._age = self._second_derivatives(), 0
            self.hessians += 1
        return self.hessian

    def _second_derivatives(self) -> Matrix:
        return hessian(self.atoms, self.atoms.calc, self.method, self.free)

    def _place(self, positions: Vector) -> None:
        self.atoms.set_positions(positions.reshape(-1, 3))

    def _judged(self, move: _Move, here: _Point) -> _Point:
        """Learn from a step, and return where to go on: here, or where it began."""
        change = here.gradient - move.start.gradient
        actual = here.energy - move.start.energy
        if np.abs(move.expected).sum() < ENERGY_NOISE:
            actual = float((move.start.gradient + change / 2) @ move.step)
        off = deviation(actual, move.expected, self.both_ways)
        length = float(np.linalg.norm(move.step))
        refused = self.trust.refuses(off, length)
        self.trust = self.trust.after(off, length)
        if refused:
            self._place(move.start.positions)
        if not (refused and self._age == 0):  # else the Hessian is exact where it goes on
            self._learn(move, change)
        return move.start if refused else here

    def _learn(self, move: _Move, change: Vector) -> None:
        update: Callable[[Matrix, Vector, Vector], Matrix] = bofill if self.both_ways else bfgs
        self.hessian = update(move.matrix, move.step, change)
        self._age += 1

    def _best_move(self, here: _Point, matrix: Matrix) -> _Move:
        basis = internal_basis(self.atoms, self.free)
        values, vectors = np.linalg.eigh(basis.T @ matrix @ basis)
        modes = basis @ vectors
        gradient = modes.T @ here.gradient
        step = restricted_step(values, gradient, self.trust.radius, self._uphill(modes))
        return _Move(here, matrix, modes @ step, model_changes(values, gradient, step))

    @abstractmethod
    def _uphill(self, modes: Float[np.ndarray, "D K"]) -> int | None:
        """Return the mode along which to maximise the energy, None for a minimum."""


@final
class RFO(SecondOrder):
    """Minimum by restricted-step rational function optimisation.

    Banerjee et al. 1985 (https://doi.org/10.1021/j100247a015), with the restriction of Besalú and
    Bofill 1998 (https://doi.org/10.1007/s002140050387), in Cartesian coordinates without rigid
    motions. Between Hessians the BFGS update.
    """

    usual = Trust(0.3, 0.01, 1.0)
    both_ways = False

    def _uphill(self, modes: Float[np.ndarray, "D K"]) -> None:
        return None


@final
class PRFO(SecondOrder):
    """Saddle point of first order by restricted-step partitioned rational function optimisation.

    The energy is maximised along one mode: at first that which is most like `direction`, or the
    lowest without one, and then that which is most like the one before. Between Hessians Bofill's
    update. It may end at a saddle point of another order: check the modes.

    Args:
        atoms: Structure near the saddle point, with a calculator.
        direction: Displacements [N, 3] along the reaction, of any length.
        method: As for `SecondOrder`, like all that follow.
    """

    usual = Trust(0.15, 0.01, 0.3)
    both_ways = True

    def __init__(
        self,
        atoms: Atoms,
        direction: Float[np.ndarray, "N 3"] | None = None,
        method: str = "autograd",
        every: int = 5,
        logfile: Any = None,
        trajectory: str | None = None,
    ) -> None:
        super().__init__(atoms, method, every, logfile=logfile, trajectory=trajectory)
        self.direction = None if direction is None else direction.ravel()

    def _uphill(self, modes: Float[np.ndarray, "D K"]) -> int | None:
        if not modes.shape[1]:
            return None
        index = 0 if self.direction is None else int(np.argmax(np.abs(self.direction @ modes)))
        self.direction = modes[:, index]
        return index
