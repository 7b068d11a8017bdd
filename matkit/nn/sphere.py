"""Signals on a sphere: from features to values at points and back, exact under inversion.

A channel of features of degrees l = 0..lmax is the signal ``f(n) = sum_lm x_lm Y_lm(n)``. Lebedev's
points come in pairs n, -n, so that the even and the odd degrees, evaluated at one point of each
pair, give both: ``f(n) = e + o``, ``f(-n) = e - o``. With natural parity, (-1)^l, an inversion
exchanges the two to the bit.
"""

from __future__ import annotations

from functools import cache
from math import pi

import torch
from jaxtyping import Float
from scipy.integrate import lebedev_rule
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.nn.equivariant import Features
from matkit.nn.irreps import spherical_harmonics

# Points of each of Lebedev's rules and the highest degree of polynomials it integrates exactly;
# rules with negative weights (74, 230 and 266 points) are left out, since they amplify noise.
DEGREES = {6: 3, 14: 5, 26: 7, 38: 9, 50: 11, 86: 15, 110: 17, 146: 19, 170: 21, 194: 23, 302: 29}


def required_degree(lmax: int, order: int = 1) -> int:
    """Return the degree of the rule that makes a pointwise function exact.

    Args:
        lmax: Highest degree of the signal and of what is kept of the function's values.
        order: Degree of the function as a polynomial: 1 for the round trip, 2 for a square.
            No rule is exact for a function that is no polynomial.
    """
    return order * lmax + lmax


def check_points(points: int, lmax: int, order: int = 1) -> None:
    """Refuse a rule that is not exact for signals of degree `lmax`.

    Raises:
        ConfigError: there is no rule of that many points, or it is too coarse.
    """
    if points not in DEGREES:
        raise ConfigError(
            f"There is no Lebedev rule of {points} points. Known: {', '.join(map(str, DEGREES))}."
        )
    needed = required_degree(lmax, order)
    if DEGREES[points] < needed:
        enough = [n for n, degree in DEGREES.items() if degree >= needed]
        advice = f"take at least {enough[0]} points" if enough else "lower lmax"
        raise ConfigError(
            f"{points} points integrate polynomials up to degree {DEGREES[points]}; signals of "
            f"degree {lmax} need {needed}: {advice}."
        )


class Sphere(nn.Module):
    """Transform between features of degrees 0..lmax and values at the points of a Lebedev rule.

    Values are divided by lmax + 1, so that features of unit variance give values of unit variance.

    Args:
        lmax: Highest degree.
        points: Number of points.

    Raises:
        ConfigError: the rule does not exist, or is too coarse for the round trip to be exact.
    """

    even: Tensor
    odd: Tensor
    weights: Tensor

    def __init__(self, lmax: int, points: int) -> None:
        super().__init__()
        check_points(points, lmax)
        self.lmax, self.points = lmax, points
        directions, weights = half_rule(points)
        harmonics = spherical_harmonics(lmax, directions)
        degree = torch.repeat_interleave(torch.arange(lmax + 1), 2 * torch.arange(lmax + 1) + 1)
        scaled = harmonics / (lmax + 1)
        self.register_buffer("even", scaled[:, degree % 2 == 0], persistent=False)
        self.register_buffer("odd", scaled[:, degree % 2 == 1], persistent=False)
        # The transforms are inverse to each other: one is divided by lmax + 1, one multiplied.
        self.register_buffer("weights", weights[:, None] * (lmax + 1) ** 2, persistent=False)

    def synthesis(self, x: Features) -> Float[Tensor, "N points channels"]:
        """Return the values at the points [N, points, channels], first one half, then the other.

        Args:
            x: Features of degrees 0..lmax in this order [N, 2l + 1, channels].
        """
        e = self.even.to(x[0]) @ torch.cat(x[0::2], dim=1)
        if self.lmax == 0:
            return torch.cat([e, e], dim=1)
        o = self.odd.to(x[0]) @ torch.cat(x[1::2], dim=1)
        return torch.cat([e + o, e - o], dim=1)

    def analysis(self, values: Float[Tensor, "N points channels"]) -> Features:
        """Return the components of degrees 0..lmax of a signal given at the points."""
        front, back = values.chunk(2, dim=1)
        weights = self.weights.to(values)
        even = ((self.even.to(values) * weights).mT @ (front + back)).split(
            [2 * degree + 1 for degree in range(0, self.lmax + 1, 2)], dim=1
        )
        odd = ((self.odd.to(values) * weights).mT @ (front - back)).split(
            [2 * degree + 1 for degree in range(1, self.lmax + 1, 2)], dim=1
        )
        return tuple((odd if degree % 2 else even)[degree // 2] for degree in range(self.lmax + 1))


@cache
def half_rule(points: int) -> tuple[Tensor, Tensor]:
    """Return one unit vector of every pair ±n [points / 2, 3] and its weight [points / 2].

    The weights of all points add up to one.
    """
    found, weights = lebedev_rule(DEGREES[points])
    directions = torch.as_tensor(found.T, dtype=torch.float64)
    # Tables list some coordinates as 1e-17: those count as zero when signs are compared.
    rounded = directions.round(decimals=9)
    x, y, z = rounded.unbind(dim=1)
    upper = (z > 0) | ((z == 0) & (y > 0)) | ((z == 0) & (y == 0) & (x > 0))
    total = 4 * pi
    return directions[upper], torch.as_tensor(weights, dtype=torch.float64)[upper] / total
