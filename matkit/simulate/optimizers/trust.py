"""How far a quadratic model of the energy can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Deviations from the model, as parts of the change it expects: below the first the radius may
# grow, above the second it shrinks, above the third the step is taken back.
GOOD, BAD, REFUSED = 0.25, 0.75, 1.0
# Energies that differ by less, eV, say nothing: the change is then integrated from the forces.
ENERGY_NOISE = 1e-4


@dataclass(frozen=True)
class Trust:
    """Radius of trust, Å, with its limits.

    Attributes:
        radius: Largest norm of the next step.
        smallest: The radius never shrinks below.
        largest: The radius never grows beyond.
    """

    radius: float
    smallest: float
    largest: float

    def after(self, deviation: float, length: float) -> Trust:
        """Return the trust after a step of some length that deviated from the model."""
        radius = self.radius
        if deviation > BAD:
            radius = max(min(length, radius) / 4, self.smallest)
        elif deviation < GOOD and length > 0.8 * radius:
            radius = min(2 * radius, self.largest)
        return Trust(radius, self.smallest, self.largest)

    def refuses(self, deviation: float, length: float) -> bool:
        """Return whether a step is to be taken back; the shortest ones never are.

        A step at the smallest radius may be longer than it by rounding, and is not taken back.
        """
        return deviation > REFUSED and min(length, self.radius) > self.smallest


def deviation(actual: float, expected: np.ndarray, both_ways: bool) -> float:
    """Return how far the energy is off the model, as a part of what was to change.

    Args:
        actual: Change of the energy, eV.
        expected: Changes along every eigenvector, eV; those up and those down do not cancel.
        both_ways: Whether an energy below the model counts as a deviation too.
    """
    scale = float(np.abs(expected).sum())
    if scale == 0:
        return 0.0
    off = (actual - float(expected.sum())) / scale
    return abs(off) if both_ways else off
