"""Safety net of molecular dynamics."""

from __future__ import annotations

import numpy as np
import vesin
from ase import Atoms

from matkit.simulate.frames import is_finite
from matkit.simulate.results import Reason

# Steps between searches for atoms that are too close; numbers and temperature are tested always.
EVERY = 10
# Reach of that search in Å: with a shorter one the cell list has too many cells to be fast.
REACH = 2.0

Problem = tuple[Reason, str]


class Guard:
    """Tests of a frame, from the cheapest to the dearest.

    Args:
        min_distance: Shortest distance allowed between two atoms, Å.
        max_temperature: Highest temperature allowed, K.
    """

    def __init__(self, min_distance: float, max_temperature: float) -> None:
        self.min_distance, self.max_temperature = min_distance, max_temperature
        self._search = vesin.NeighborList(cutoff=max(min_distance, REACH), full_list=False)

    def problem(self, atoms: Atoms, full: bool) -> Problem | None:
        """Return the reason to stop and what was found, or None for a good frame.

        Args:
            atoms: Frame with its calculator.
            full: Whether to look for atoms that are too close, too.
        """
        if not (is_finite(atoms) and np.isfinite(atoms.get_momenta()).all()):
            return "nan", "positions, cell or momenta are not a number"
        if not (
            np.isfinite(atoms.get_potential_energy()) and np.isfinite(atoms.get_forces()).all()
        ):
            return "nan", "energy or forces are not a number"
        temperature = atoms.get_temperature()
        if temperature > self.max_temperature:
            limit = f"{self.max_temperature:.0f} K (max_temperature)"
            return "exploded", f"the temperature is {temperature:.0f} K, above {limit}"
        return self._too_close(atoms) if full else None

    def _too_close(self, atoms: Atoms) -> Problem | None:
        i, j, d = self._search.compute(
            atoms.positions, atoms.cell.complete().array, atoms.pbc, quantities="ijd", copy=False
        )
        nearest = int(np.argmin(d)) if len(d) else -1
        if nearest < 0 or d[nearest] >= self.min_distance:
            return None
        pair = f"atoms {i[nearest]} and {j[nearest]} are {d[nearest]:.3f} Å apart"
        return "too_close", f"{pair}, closer than {self.min_distance} Å (min_distance)"
