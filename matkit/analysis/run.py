"""Analysis of one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from ase import Atoms

from matkit.analysis.diffusion import Diffusion, diffusion
from matkit.analysis.distances import PairCounts
from matkit.analysis.frames import NO_TIMES, FrameCurves, frames_of, interval_of
from matkit.analysis.options import Part, TrajectoryOptions
from matkit.analysis.results import TrajectoryAnalysis
from matkit.analysis.tracks import FARTHEST, Tracks
from matkit.analysis.velocities import VelocityCorrelation, folded_back, velocity_correlation
from matkit.errors import ConfigError, SimulationError
from matkit.options import resolve

if TYPE_CHECKING:
    from matkit.analysis.distances import RadialDistribution

FoundT = TypeVar("FoundT")
NO_MOMENTA = "the frames have no momenta, which velocities follow from"
NO_VOLUME = "a radial distribution needs cells that are periodic in three directions"
TOO_FAR = (
    "between two frames an atom moves {:.2f} of a cell vector: beyond 0.5 it would be taken for a "
    "move the other way. Write frames more often (traj_every)"
)
OnFrame = Callable[[int], None]


def analyse(
    trajectory: str | Path | Iterable[Atoms],
    options: TrajectoryOptions | None = None,
    *,
    on_frame: OnFrame | None = None,
    **changes: Any,
) -> TrajectoryAnalysis:
    """Analyse a trajectory, e.g. ``analyse("results/salt-traj.extxyz", skip=100)``.

    Frames are read one after another; positions and velocities are kept in temporary files, so that
    long trajectories need little memory. Unless `parts` says what is wanted, everything is computed
    that can be had, and `remarks` of the result say what is missing and why.

    Args:
        trajectory: File in any format that ASE reads, or frames.
        options: See `TrajectoryOptions`.
        on_frame: Called with the number of frames read.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, frames are not equally far apart in time,
            or what `parts` names cannot be had.
        StructureError: a frame cannot be read, or holds other atoms than the first.
        SimulationError: the trajectory is too short for what `parts` names.
    """
    options = resolve(TrajectoryOptions, options, changes)
    with (
        TemporaryDirectory(prefix="matkit-") as folder,
        closing(_Run(options, Path(folder))) as run,
    ):
        for count, atoms in enumerate(frames_of(trajectory, options), start=1):
            run.add(atoms)
            if on_frame is not None:
                on_frame(count)
        return run.result()


class _Run:
    """What is collected frame by frame, and what follows from it."""

    def __init__(self, options: TrajectoryOptions, folder: Path) -> None:
        self.options, self._folder = options, folder
        self.tracks: Tracks | None = None
        self._pairs: PairCounts | None = None
        self._periodic, self._remarks = True, list[str]()
        self._curves = FrameCurves()

    def close(self) -> None:
        """Close the temporary files."""
        if self.tracks is not None:
            self.tracks.close()

    def add(self, atoms: Atoms) -> None:
        """Take a frame in."""
        if self.tracks is None:
            self._first = atoms
            self.tracks = Tracks(self._folder, atoms)
            options = self.options
            self._pairs = PairCounts(atoms.numbers, options.rdf_max, options.rdf_width)
        assert self._pairs is not None
        self._periodic = self._periodic and bool(atoms.pbc.all()) and atoms.cell.rank == 3
        if self._periodic and self._wanted("rdf"):
            self._pairs.add(atoms)
        self.tracks.add(atoms)
        self._curves.add(atoms)

    def result(self) -> TrajectoryAnalysis:
        """Return everything; the temporary files are no longer needed then."""
        assert self.tracks is not None
        interval = interval_of(self._curves.times, self.options)
        curves = self._curves.result() if self._wanted("curves") else {}
        if curves:
            times = np.arange(self.tracks.count) * (interval or 1.0)
            curves = {"time_fs" if interval else "frame": times, **curves}
        return TrajectoryAnalysis(
            formula=str(self._first.symbols),
            frames=self.tracks.count,
            interval=interval,
            distances=self._try("rdf", self._distances),
            diffusion=self._try("diffusion", lambda: self._diffusion(interval)),
            velocities=self._try("velocities", lambda: self._velocities(interval)),
            curves=curves,
            remarks=tuple(self._remarks),
        )

    def _wanted(self, part: Part) -> bool:
        return not self.options.parts or part in self.options.parts

    def _try(self, part: Part, compute: Callable[[], FoundT]) -> FoundT | None:
        """Return a part; None if it was not asked for or, with a remark, if it cannot be had."""
        if not self._wanted(part):
            return None
        try:
            return compute()
        except (ConfigError, SimulationError) as error:
            if self.options.parts:
                raise
            self._remarks.append(f"No {part}: {error}")
        return None

    def _distances(self) -> RadialDistribution:
        if not self._periodic:
            raise ConfigError(NO_VOLUME)
        assert self._pairs is not None
        return self._pairs.result()

    def _diffusion(self, interval: float | None) -> Diffusion:
        assert self.tracks is not None
        if interval is None:
            raise ConfigError(NO_TIMES)
        positions = self.tracks.positions()
        found = diffusion(positions, self._first.numbers, interval, self.options)
        if self.tracks.farthest > FARTHEST:
            self._remarks.append(TOO_FAR.format(self.tracks.farthest))
        return found

    def _velocities(self, interval: float | None) -> VelocityCorrelation:
        assert self.tracks is not None
        if not self.tracks.has_velocities:
            raise ConfigError(NO_MOMENTA)
        if interval is None:
            raise ConfigError(NO_TIMES)
        numbers, masses = self._first.numbers, self._first.get_masses()
        found = velocity_correlation(self.tracks.velocities(), numbers, masses, interval)
        if text := folded_back(found, numbers, interval):
            self._remarks.append(text)
        return found
