"""Normal modes as moving pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from matkit.hessians.modes import NormalModes

# Frames of one period.
FRAMES = 20


def animate(atoms: Atoms, modes: NormalModes, amplitude: float) -> Iterator[Atoms]:
    """Yield one period of every mode, `FRAMES` frames each.

    Args:
        atoms: Structure at rest.
        modes: Its normal modes.
        amplitude: Largest displacement of an atom, Å.
    """
    for number, vectors in enumerate(modes.vectors):
        scaled = amplitude * vectors / np.linalg.norm(vectors, axis=1).max()
        for phase in np.arange(FRAMES) / FRAMES:
            frame = atoms.copy()
            frame.positions += np.sin(2 * np.pi * phase) * scaled
            frame.set_array("mode_vector", vectors)
            frame.info |= {"mode": number, "wavenumber": float(modes.frequencies[number])}
            yield frame
