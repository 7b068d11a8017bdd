"""The parts of the way to a transition state: minima, band, search and path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from matkit.errors import SimulationError
from matkit.simulate.frames import freeze, is_finite, max_force
from matkit.simulate.optimizers.rfo import PRFO
from matkit.simulate.options import RelaxOptions
from matkit.simulate.plausibility import too_close
from matkit.simulate.results import OnStep, Reason, SimulationProgress
from matkit.simulate.stationary import stationary_point
from matkit.transition.band import Band, BandSettings, interpolated, relaxed_band
from matkit.transition.checks import check_different
from matkit.transition.irc import Branch, PathOptions, follow
from matkit.transition.likeness import Likeness, aligned, bonds, likeness
from matkit.transition.options import TSOptions
from matkit.transition.record import SearchRecord
from matkit.transition.results import Foot

# Steps of the band between its files.
KEPT_EVERY = 10


@dataclass(frozen=True)
class Search:
    """Where a search ended: the structure with its results, why, and what it took."""

    atoms: Atoms
    reason: Reason
    steps: int
    hessians: int


@dataclass(frozen=True)
class Work:
    """The parts of the work, with what all of them need."""

    calc: BaseCalculator
    options: TSOptions
    record: SearchRecord
    on_step: OnStep | None

    def minimum(self, start: Atoms) -> tuple[Atoms, bool]:
        """Return the minimum next to a structure, and whether it was reached."""
        relaxation = RelaxOptions(
            optimizer="RFO",
            hessian=self.options.hessian,
            fmax=self.options.relax_fmax,
            steps=self.options.relax_steps,
        )
        frame, reason, _ = stationary_point(start, self.calc, relaxation, self.on_step)
        return frame, reason == "converged"

    def minima(self, structures: Sequence[Atoms], warnings: list[str]) -> list[Atoms]:
        """Return reactant and product, relaxed and aligned."""
        known = self.record.band()
        if known is not None:
            return [known.frames[0], known.frames[-1]]
        ends = []
        for name, start in zip(("reactant", "product"), structures, strict=True):
            frame, converged = self.minimum(start)
            if not converged:
                warnings.append(f"the {name} is not relaxed within relax_steps")
            if bonds(frame) != bonds(start):
                warnings.append(f"the {name} has other bonds after its relaxation")
            ends.append(frame)
        check_different(ends[0], ends[1], " after relaxation")
        turned = aligned(ends[1], ends[0])
        turned.calc = self.calc
        return [ends[0], freeze(turned)]

    def band(self, ends: list[Atoms], warnings: list[str]) -> Band:
        """Return the relaxed band, going on with one that was begun before."""
        band = self.record.band()
        settings = BandSettings(self.options.neb_fmax, self.options.neb_steps)
        if band is None:
            frames = interpolated(ends[0], ends[1], self.options.images)
            band = relaxed_band(frames, self.calc, settings, self._show_band)
            self.record.keep_band(band)
        elif not band.converged and band.steps < self.options.neb_steps:
            band = relaxed_band(band.frames, self.calc, settings, self._show_band, done=band.steps)
            self.record.keep_band(band)
        if not band.converged:
            warnings.append(
                f"the band is not converged: its largest force is {band.force:.3g} eV/Å after "
                f"{band.steps} steps; its highest image is taken as the guess nevertheless"
            )
        if band.peak_energy <= max(float(end.get_potential_energy()) for end in ends):
            warnings.append("the band has no barrier: no image is higher than both its ends")
        return band

    def search(self, guess: Atoms, tangent: np.ndarray | None) -> Search:
        """Return the saddle point next to a guess.

        Raises:
            SimulationError: something is not a number.
        """
        known = self.record.saddle()
        if known is not None:
            return Search(known, "converged", 0, 0)
        work = guess.copy()
        work.calc = self.calc
        optimizer = PRFO(work, tangent, self.options.hessian, self.options.hessian_every)
        reason: Reason = "max_steps"
        for step in range(self.options.steps + 1):
            if step:
                optimizer.step()
            if not is_finite(work) or not np.isfinite(work.get_forces()).all():
                raise SimulationError(
                    f"Expected finite forces, got NaN or infinity in step {step} of the search. "
                    "Begin with a better guess, or check the model."
                )
            self._show(work, step, self.options.steps)
            if too_close(work):
                reason = "implausible"
                break
            if max_force(work) < self.options.fmax:
                reason = "converged"
                break
        frame = freeze(work)
        self.record.keep_saddle(frame, reason)
        return Search(frame, reason, step, optimizer.hessians)

    def feet(
        self, saddle: Atoms, mode: Float[np.ndarray, "N 3"], ends: Sequence[Atoms]
    ) -> list[Foot]:
        """Return the minima on both sides of a saddle point.

        Args:
            saddle: Saddle point.
            mode: Its imaginary mode [N, 3]; the second foot is the one it points to.
            ends: Reactant and product, or nothing.
        """
        known = self.record.branches()
        for side, branch in known.items():
            left = branch.frames[0].positions - saddle.positions
            if side * np.vdot(left, mode) < 0:
                mode = -mode  # the sign of a mode is arbitrary, that of the first run holds
        branches = {side: known.get(side) or self._branch(saddle, mode, side) for side in (-1, 1)}
        feet = [self._foot(branch, ends) for branch in branches.values()]
        self.record.keep_minima([foot.atoms for foot in feet])
        return feet

    def _branch(self, saddle: Atoms, mode: np.ndarray, side: int) -> Branch:
        options = self.options
        path = PathOptions(
            options.hessian, options.hessian_every, options.irc_step, options.irc_points
        )
        branch = follow(saddle, self.calc, side * mode, path, self._counting(options.irc_points))
        self.record.keep_branch(saddle, side, branch)
        return branch

    def _foot(self, branch: Branch, ends: Sequence[Atoms]) -> Foot:
        minimum, relaxed = self.minimum(branch.frames[-1])
        like: list[Likeness | None] = [likeness(minimum, end) for end in ends]
        like = like or [None, None]
        return Foot(branch, minimum, relaxed and branch.end == "minimum", like[0], like[1])

    def _counting(self, steps: int) -> Callable[[Atoms], None]:
        numbers = iter(range(1, steps + 1))
        return lambda frame: self._show(frame, next(numbers), steps)

    def _show_band(self, band: Band) -> None:
        if band.steps % KEPT_EVERY == 0:
            self.record.keep_band(band)
        if self.on_step is not None:
            steps, energy = self.options.neb_steps, band.peak_energy
            self.on_step(
                SimulationProgress(
                    step=band.steps, steps=steps, energy=energy, max_force=band.force
                )
            )

    def _show(self, atoms: Atoms, step: int, steps: int) -> None:
        if self.on_step is not None:
            energy = float(atoms.get_potential_energy())
            force = max_force(atoms)
            self.on_step(SimulationProgress(step=step, steps=steps, energy=energy, max_force=force))
