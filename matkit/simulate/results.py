"""What the simulations return: plain frozen records that always say how they ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms

from matkit.data.pymatgen import in_type
from matkit.simulate.frames import spread

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

Reason = Literal[
    "done",  # the number of steps asked for, or a single point
    "converged",
    "max_steps",
    "nan",
    "exploded",
    "too_close",
    "interrupted",
    "error",
    "violated",  # a constraint does not hold
    "implausible",  # no molecule is like that, or none that the model was made for
]


@dataclass(frozen=True, kw_only=True)
class SimulationProgress:
    """State of a running simulation, for progress displays.

    Attributes:
        step: Steps done.
        steps: Steps at most.
        energy: Potential energy, eV.
        max_force: Largest force in a relaxation, eV/Å.
        temperature: Temperature in molecular dynamics, K.
    """

    step: int
    steps: int
    energy: float
    max_force: float | None = None
    temperature: float | None = None


OnStep = Callable[[SimulationProgress], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What all results can do; not meant to be used by itself.

    Attributes:
        given: Type of the structure that was given: ASE's or one of pymatgen's.
    """

    atoms: Atoms
    reason: Reason
    given: type[Any] = field(default=Atoms, repr=False)

    @property
    def structure(self) -> AnyStructure:
        """The structure of the result without energies, in the type that was given."""
        return in_type(self.atoms, self.given)

    @property
    def converged(self) -> bool:
        """Whether the simulation ended as it should: relaxed, or all steps done."""
        return self.reason in ("done", "converged")

    def row(self) -> dict[str, Any]:
        """Return everything but arrays, and a committee's spread, as a flat dictionary for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {key: _plain(value) for key, value in values.items() if _is_scalar(value)}
        return {"converged": self.converged} | spread(self.atoms) | plain


@dataclass(frozen=True, kw_only=True)
class SinglepointResult(Result):
    """Result of `singlepoint`.

    Attributes:
        atoms: Copy of the structure that holds the results.
        reason: `done`, or `nan`.
        energy: Energy, eV.
        forces: Forces [N, 3], eV/Å.
        stress: Stress [6] in Voigt order, eV/Å³; None where it is not defined or not asked for.
        max_force: Largest force, eV/Å.
        message: More on what went wrong, or what to beware of.
        rotational_residual: Norm of the derivative of the energy by a rotation, eV per radian; None
            where it was not asked for.
    """

    atoms: Atoms
    reason: Reason
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    max_force: float
    message: str = ""
    rotational_residual: float | None = None


@dataclass(frozen=True, kw_only=True)
class RelaxResult(Result):
    """Result of `relax`.

    Attributes:
        atoms: Relaxed copy of the structure (the last good frame after a failure), with results.
        reason: `converged` (forces, and the stress if the cell was relaxed, are small enough),
            `max_steps`, `nan`, `interrupted`, `error`, `violated` (a constraint) or `implausible`
            (nuclei have fused).
        steps: Steps done.
        initial_energy: Energy before, eV.
        energy: Energy after, eV.
        max_force: Largest force on an atom, eV/Å.
        max_stress: Largest component of the stress left beside the external pressure, eV/Å³;
            None if the cell was not relaxed.
        wall_time: Duration, s.
        message: More on what went wrong.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    initial_energy: float
    energy: float
    max_force: float
    max_stress: float | None
    wall_time: float
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class MDResult(Result):
    """Result of `md`.

    Attributes:
        atoms: Last good frame, with momenta and results.
        reason: `done`, `nan`, `exploded`, `too_close`, `interrupted`, `error` or `violated` (a
            constraint).
        steps: Steps done up to that frame, those before a restart included.
        energy: Potential energy, eV.
        temperature: Temperature, K.
        drift: Slope of the total energy in nve, meV/atom/ps; None elsewhere and for fewer than
            three rows of statistics.
        max_forces_std: Largest deviation of a committee's forces on an atom in a row of the
            statistics, eV/Å; None of a single model.
        steps_per_second: Speed of this run.
        wall_time: Duration of this run, s.
        restarted_from: Step at which this run went on, None for a new one.
        last_good: File of the last good frame after a failure.
        message: More on what went wrong.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    energy: float
    temperature: float
    drift: float | None
    steps_per_second: float
    wall_time: float
    restarted_from: int | None = None
    last_good: Path | None = None
    max_forces_std: float | None = None
    message: str = ""


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | Path)


def _plain(value: Any) -> Any:
    """Return JSON's counterpart; not-a-number and infinity are not JSON and become None."""
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value
