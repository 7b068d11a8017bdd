"""Unwrapped positions and velocities of a trajectory, kept in files and not in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

# Between two frames no atom may move further than this part of a cell vector: where it went would
# be a guess.
FARTHEST = 0.35


class Tracks:
    """Positions without jumps, and velocities if there are any, without the drift of the centre.

    Args:
        folder: Where the files are.
        first: First frame.

    Attributes:
        farthest: Largest move between two frames, as part of a cell vector.
        has_velocities: Whether all frames have momenta.
    """

    def __init__(self, folder: Path, first: Atoms) -> None:
        self.farthest, self.has_velocities, self.count = 0.0, True, 0
        self._files = {name: folder / name for name in ("positions", "velocities")}
        self._streams = {name: path.open("wb") for name, path in self._files.items()}
        self._masses = first.get_masses()[:, None]
        self._before: np.ndarray | None = None
        self._place = first.get_positions()

    def add(self, atoms: Atoms) -> None:
        """Add a frame."""
        cell = atoms.cell.complete().array
        scaled = atoms.positions @ np.linalg.inv(cell)
        if self._before is not None:
            move = scaled - self._before
            move[:, atoms.pbc] -= np.round(move[:, atoms.pbc])
            self.farthest = max(self.farthest, np.abs(move[:, atoms.pbc]).max(initial=0.0))
            self._place = self._place + move @ cell
        self._before = scaled
        self._write("positions", self._place)
        self.has_velocities = self.has_velocities and atoms.has("momenta")
        if self.has_velocities:
            self._write("velocities", atoms.get_velocities())
        self.count += 1

    def positions(self) -> np.ndarray:
        """Return unwrapped positions [T, N, 3] in Å."""
        return self._read("positions")

    def velocities(self) -> np.ndarray:
        """Return velocities [T, N, 3] in ASE's unit."""
        return self._read("velocities")

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams.values():
            stream.close()

    def _write(self, name: str, vectors: np.ndarray) -> None:
        if len(vectors) > 1:  # of one atom nothing would be left
            vectors = vectors - (self._masses * vectors).sum(axis=0) / self._masses.sum()
        self._streams[name].write(np.ascontiguousarray(vectors, dtype=float).tobytes())

    def _read(self, name: str) -> np.ndarray:
        self._streams[name].flush()
        shape = (self.count, len(self._masses), 3)
        return np.memmap(self._files[name], dtype=float, mode="r", shape=shape)
