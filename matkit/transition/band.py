"""A band of images between two minima, from which a search for the saddle point can start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.mep.neb import idpp_interpolate
from ase.optimize import FIRE
from jaxtyping import Float

from matkit.errors import SimulationError
from matkit.hessians.free_atoms import free_atoms
from matkit.simulate.several import evaluated

# Without climbing, the band is relaxed to this multiple of the force that is wanted at the end.
PREPARED = 3.0
# By how much the middle of the interpolation is displaced, Å.
ASIDE = 0.1


@dataclass(frozen=True)
class BandSettings:
    """How a band is relaxed.

    Attributes:
        fmax: Largest force on the band that counts as converged, eV/Å.
        steps: Largest number of steps.
        climb: Whether the highest image climbs at last; without it none comes to the saddle point.
        spring: Spring constant between images, eV/Å².
    """

    fmax: float
    steps: int
    climb: bool = True
    spring: float = 0.1


@dataclass(frozen=True)
class Band:
    """Images of a path.

    Attributes:
        frames: Images with energy and forces, both ends included.
        steps: Steps done.
        force: Largest force on the band, eV/Å.
        converged: Whether it is small enough.
    """

    frames: list[Atoms]
    steps: int
    force: float
    converged: bool

    @property
    def peak(self) -> int:
        """Number of the highest image between the ends."""
        energies = [frame.get_potential_energy() for frame in self.frames[1:-1]]
        return 1 + int(np.argmax(energies))

    @property
    def peak_energy(self) -> float:
        """Energy of that image, eV."""
        return float(self.frames[self.peak].get_potential_energy())

    @property
    def tangent(self) -> Float[np.ndarray, "N 3"]:
        """Direction of the path at its peak, Å."""
        beyond, before = self.frames[self.peak + 1], self.frames[self.peak - 1]
        direction: np.ndarray = beyond.positions - before.positions
        return direction


def interpolated(reactant: Atoms, product: Atoms, images: int, aside: float = ASIDE) -> list[Atoms]:
    """Return structures from reactant to product by the image-dependent pair potential.

    Smidstrup et al. 2014 (https://doi.org/10.1063/1.4878664). The straight way is left a little
    at random: along it, atoms on one line would have to pass through each other. Across the
    boundaries of a cell the shorter way is taken.

    Args:
        reactant: One end, with energy and forces.
        product: The other, aligned to it.
        images: Structures between them.
        aside: By how much the middle of the interpolation is displaced, Å.
    """
    frames = [reactant.copy() for _ in range(images + 1)] + [product.copy()]
    frames[-1].set_positions(reactant.positions + way(reactant, product), apply_constraint=False)
    neb = NEB(frames, method="improvedtangent")
    neb.interpolate(apply_constraint=False)
    free = free_atoms(reactant)
    moving = range(len(reactant)) if free is None else free
    moved = np.zeros_like(reactant.positions)
    moved[moving] = np.random.default_rng(0).normal(size=(len(moving), 3)) * aside
    for place, frame in enumerate(frames):
        frame.positions += np.sin(np.pi * place / (images + 1)) * moved
    idpp_interpolate(neb, traj=None, log=None, mic=bool(reactant.pbc.any()))
    for frame, end in ((frames[0], reactant), (frames[-1], product)):
        if end.calc is not None:
            forces = end.get_forces(apply_constraint=False)
            results = {"energy": end.get_potential_energy(), "forces": forces}
            frame.calc = SinglePointCalculator(frame, **results)
    return frames


def way(start: Atoms, end: Atoms) -> Float[np.ndarray, "N 3"]:
    """Return the displacements from one structure to another, the shortest across boundaries, Å."""
    vectors: np.ndarray = find_mic(end.positions - start.positions, start.cell, start.pbc)[0]
    return vectors


class _BatchedNEB(NEB):
    """Band that evaluates all images at once, and once for all of ASE's optimiser's questions."""

    shared: BaseCalculator
    _key: tuple[bytes, bool] | None = None
    _known: np.ndarray

    def get_forces(self) -> np.ndarray:
        """Return forces on the band, eV/Å."""
        positions: np.ndarray = self.get_positions()  # type: ignore[no-untyped-call]
        key = (positions.tobytes(), self.climb)
        if key != self._key:
            images = self.images[1:-1]
            for image, frame in zip(images, evaluated(images, self.shared), strict=True):
                image.calc = frame.calc
            self._known, self._key = super().get_forces(), key  # type: ignore[no-untyped-call]
        return self._known.copy()


def relaxed_band(
    frames: list[Atoms],
    calc: BaseCalculator,
    settings: BandSettings,
    on_step: Callable[[Band], None] | None = None,
    done: int = 0,
) -> Band:
    """Relax a nudged elastic band, at last with a climbing image.

    Henkelman, Uberuaga and Jónsson 2000 (https://doi.org/10.1063/1.1329672). The images are
    computed in one batch. The number of steps is limited; a band that is not converged is a guess
    as well.

    Args:
        frames: Images; the ends have energy and forces.
        calc: Any ASE calculator, for the images between them.
        settings: See `BandSettings`.
        on_step: Called after every step.
        done: Steps that were done before.

    Raises:
        SimulationError: something is not a number.
    """
    images = [frame.copy() for frame in frames]
    images[0].calc, images[-1].calc = frames[0].calc, frames[-1].calc
    neb: Any = _BatchedNEB(  # type: ignore[no-untyped-call]
        images, k=settings.spring, method="improvedtangent"
    )
    neb.shared = calc
    optimizer = FIRE(neb, logfile=None)
    for step in range(done, settings.steps + 1):
        if step > done:
            optimizer.step()
        force = float(np.linalg.norm(neb.get_forces(), axis=1).max(initial=0.0))
        if not np.isfinite(force):
            raise SimulationError(
                f"Expected finite forces, got NaN or infinity in step {step} of the band. Look for "
                "atoms that meet between the ends, or check the model."
            )
        # Where no image is higher than both ends, one that climbs would run away.
        climbs = settings.climb and np.argmax(neb.energies) not in (0, len(images) - 1)
        converged = force < settings.fmax and neb.climb == climbs
        band = Band(_frozen(neb, images), step, force, converged)
        if on_step is not None:
            on_step(band)
        if converged:
            break
        neb.climb = climbs and (neb.climb or force < PREPARED * settings.fmax)
    return band


def _frozen(neb: Any, images: list[Atoms]) -> list[Atoms]:
    frames = [image.copy() for image in images]
    frames[0].calc, frames[-1].calc = images[0].calc, images[-1].calc
    inner = zip(frames[1:-1], neb.energies[1:-1], neb.real_forces[1:-1], strict=True)
    for frame, energy, forces in inner:
        results = {"energy": float(energy), "forces": forces.copy()}
        frame.calc = SinglePointCalculator(frame, **results)
    return frames
