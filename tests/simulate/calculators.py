"""Small calculators that misbehave on request."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Springs(Calculator):
    """Every atom on its own spring; no stress.

    Args:
        fail_at: Number of the call at which to misbehave, from 1.
        failure: ``nan``, ``nan energy``, ``interrupt``, ``error``, or ``kick`` for a huge force.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, fail_at: int = 0, failure: str = "", constant: float = 1.0):
        super().__init__()
        self.fail_at, self.failure, self.constant = fail_at, failure, constant
        self.calls = 0
        self.origin: np.ndarray | None = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.origin is None:
            self.origin = self.atoms.positions - 0.1
        away = self.atoms.positions - self.origin
        energy, forces = 0.5 * self.constant * (away**2).sum(), -self.constant * away
        if self.calls == self.fail_at:
            energy, forces = self._fail(energy, forces)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def _fail(self, energy, forces):
        if self.failure == "interrupt":
            raise KeyboardInterrupt
        if self.failure == "error":
            raise RuntimeError("out of memory")
        if self.failure == "nan energy":
            return float("nan"), forces
        if self.failure == "kick":
            return energy, forces + 1e3
        return energy, forces * np.nan


class InterruptedEMT(EMT):
    """EMT that raises KeyboardInterrupt at a call, from 1."""

    def __init__(self, fail_at: int):
        super().__init__()
        self.fail_at, self.calls = fail_at, 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


class WithoutReset(EMT):
    """EMT without the method `reset`, as calculators written by users may be."""

    @property
    def reset(self):
        raise AttributeError("reset")
