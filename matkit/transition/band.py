"""A band of images between two minima, from which a search for the saddle point can start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.mep.neb import idpp_interpolate
from ase.optimize import FIRE
from jaxtyping import Float

from matkit.hessians.free_atoms import free_atoms
from matkit.transition.options import TSOptions

# Spring constant between images, eV/Å². Without climbing, the band is relaxed to this multiple
# of the force that is wanted at the end.
SPRING, PREPARED = 0.1, 3.0
# By how much the middle of the interpolation is displaced, Å.
ASIDE = 0.1


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


def interpolated(reactant: Atoms, product: Atoms, images: int) -> list[Atoms]:
    """Return structures from reactant to product by the image-dependent pair potential.

    Smidstrup et al. 2014 (https://doi.org/10.1063/1.4878664). The straight way is left a little
    at random: along it, atoms on one line would have to pass through each other.

    Args:
        reactant: One end, with energy and forces.
        product: The other, aligned to it.
        images: Structures between them.
    """
    frames = [reactant.copy() for _ in range(images + 1)] + [product.copy()]
    neb = NEB(frames, method="improvedtangent")
    neb.interpolate(apply_constraint=False)
    free = free_atoms(reactant)
    moving = range(len(reactant)) if free is None else free
    aside = np.zeros_like(reactant.positions)
    aside[moving] = np.random.default_rng(0).normal(scale=ASIDE, size=(len(moving), 3))
    for place, frame in enumerate(frames):
        frame.positions += np.sin(np.pi * place / (images + 1)) * aside
    idpp_interpolate(neb, traj=None, log=None)
    frames[0].calc, frames[-1].calc = reactant.calc, product.calc
    return frames


class _Remembering(NEB):
    """Band that evaluates its images once for all who ask; ASE's optimisers ask several times."""

    _key: tuple[bytes, bool] | None = None
    _known: np.ndarray

    def get_forces(self) -> np.ndarray:
        """Return forces on the band, eV/Å."""
        positions: np.ndarray = self.get_positions()  # type: ignore[no-untyped-call]
        key = (positions.tobytes(), self.climb)
        if key != self._key:
            self._known, self._key = super().get_forces(), key  # type: ignore[no-untyped-call]
        return self._known.copy()


def relaxed_band(
    frames: list[Atoms],
    calc: BaseCalculator,
    options: TSOptions,
    on_step: Callable[[Band], None] | None = None,
    done: int = 0,
) -> Band:
    """Relax a nudged elastic band, at last with a climbing image.

    Henkelman, Uberuaga and Jónsson 2000 (https://doi.org/10.1063/1.1329672). The number of steps
    is limited; a band that is not converged is a guess as well.

    Args:
        frames: Images; the ends have energy and forces.
        calc: Any ASE calculator, for the images between them.
        options: See `TSOptions`.
        on_step: Called after every step.
        done: Steps that were done before.
    """
    images = [frame.copy() for frame in frames]
    images[0].calc, images[-1].calc = frames[0].calc, frames[-1].calc
    for image in images[1:-1]:
        image.calc = calc
    neb: Any = _Remembering(  # type: ignore[no-untyped-call]
        images, k=SPRING, method="improvedtangent", allow_shared_calculator=True
    )
    optimizer = FIRE(neb, logfile=None)
    for step in range(done, options.neb_steps + 1):
        if step > done:
            optimizer.step()
        force = float(np.linalg.norm(neb.get_forces(), axis=1).max(initial=0.0))
        converged = force < options.neb_fmax and neb.climb
        band = Band(_frozen(neb, images), step, force, converged)
        if on_step is not None:
            on_step(band)
        if converged:
            break
        if force < PREPARED * options.neb_fmax:
            neb.climb = True
    return band


def _frozen(neb: Any, images: list[Atoms]) -> list[Atoms]:
    frames = [image.copy() for image in images]
    frames[0].calc, frames[-1].calc = images[0].calc, images[-1].calc
    inner = zip(frames[1:-1], neb.energies[1:-1], neb.real_forces[1:-1], strict=True)
    for frame, energy, forces in inner:
        results = {"energy": float(energy), "forces": forces.copy()}
        frame.calc = SinglePointCalculator(frame, **results)
    return frames
