"""Products of two features of single atoms, channel by channel: by 3j symbols or on a sphere.

Features are signals on the sphere, f(n) = sum over l, m of x_lm Y_lm(n). Their pointwise product
has all couplings with an even sum of degrees (Luo et al. 2024, https://arxiv.org/abs/2401.10216),
and n · (∇f × ∇g) those with an odd sum: the vector signals of Xie et al. 2025
(https://arxiv.org/abs/2506.13523), of which the gradients are the ones that need no more than two
numbers a point. One evaluation gives all couplings into a degree together, with factors that
cannot be chosen (`factor`); 3j symbols keep every path apart. Which of them pays at which degree
is measured by ``benchmarks/products.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product as all_of
from math import sqrt

import torch
from torch import Tensor, nn

from matkit.errors import ConfigError, did_you_mean
from matkit.nn.equivariant import Features
from matkit.nn.irreps import spherical_harmonics, wigner_3j
from matkit.nn.sphere import DEGREES, half_rule

Path = tuple[int, int, int]
KINDS = ("coupling", "gaunt", "vector")


def feature_product(
    kind: str, paths: Sequence[Path], points: int | None = None
) -> CouplingProduct | SphereProduct:
    """Return the product that has the given couplings.

    Args:
        kind: `coupling` (3j symbols), `gaunt` or `vector` (on a sphere).
        paths: Degrees (l1, l2, l3) of the couplings.
        points: Points of Lebedev's rule on the sphere, by default the fewest that are exact.

    Raises:
        ConfigError: the kind is unknown, it cannot make a path, or the rule is too coarse.
    """
    if kind not in KINDS:
        raise ConfigError(f"Unknown product {kind!r}.{did_you_mean(kind, KINDS)}")
    if not paths:
        raise ConfigError("A product needs at least one path (l1, l2, l3), got none.")
    for path in paths:
        _check_path(kind, path)
    if kind == "coupling":
        return CouplingProduct(paths)
    return SphereProduct(paths, points, by_gradients=kind == "vector")


def _check_path(kind: str, path: Path) -> None:
    l1, l2, l3 = path
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ConfigError(f"Degrees {l1}, {l2}, {l3} break the triangle rule.")
    if kind == "coupling":
        return
    odd = kind == "vector"
    if sum(path) % 2 != odd:
        raise ConfigError(
            f"The {kind} product has no path {l1} x {l2} -> {l3}: its degrees add up to "
            f"{'odd' if odd else 'even'} numbers; take {'gaunt' if odd else 'vector'} or coupling."
        )


def factor(kind: str, path: Path) -> float:
    """Return what a path of a product is, divided by the same path of `coupling`."""
    l1, l2, l3 = path
    wanted = wigner_3j(*path)
    shapes = [(1, 2 * degree + 1, 1) for degree in range(max(path) + 1)]
    found = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.float64)
    layer = feature_product(kind, [path])
    for m1, m2 in all_of(range(2 * l1 + 1), range(2 * l2 + 1)):
        x, y = (tuple(torch.zeros(s, dtype=torch.float64) for s in shapes) for _ in "xy")
        x[l1][0, m1] = y[l2][0, m2] = 1
        found[m1, m2] = layer(x[: l1 + 1], y[: l2 + 1])[-1][0, :, 0]
    return float((found * wanted).sum()) / sqrt(2 * l3 + 1)


class CouplingProduct(nn.Module):
    """z = √(2 l3 + 1) · 3j(l1, l2, l3) x y, each path in channels of its own.

    Args:
        paths: Degrees of the couplings.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = sorted(paths, key=lambda path: path[2])
        for i, path in enumerate(self.paths):
            symbol = sqrt(2 * path[2] + 1) * wigner_3j(*path)
            self.register_buffer(f"symbol_{i}", symbol, persistent=False)

    def forward(self, x: Features, y: Features) -> Features:
        """Return one part [N, 2 l3 + 1, channels of its paths] per degree that is made.

        Args:
            x: Features of degrees 0, 1, ... in this order [N, 2l + 1, channels].
            y: The same, of the other factor.
        """
        found: dict[int, list[Tensor]] = {}
        for i, (l1, l2, l3) in enumerate(self.paths):
            symbol = self.get_buffer(f"symbol_{i}").to(x[0])
            left = torch.einsum("abc,nak->nbck", symbol, x[l1])
            found.setdefault(l3, []).append(torch.einsum("nbck,nbk->nck", left, y[l2]))
        return tuple(torch.cat(parts, dim=2) for parts in found.values())


class SphereProduct(nn.Module):
    """All couplings into a degree at once, from values at the points of a Lebedev rule.

    Points come in pairs ±n: even and odd degrees at one of each pair give both, and a reflection
    changes the result as it should, to the bit.

    Args:
        paths: Degrees (l1, l2, l3); all couplings among the degrees named come with them.
        points: Points of the rule, None for the fewest that are exact.
        by_gradients: n · (∇f × ∇g) in the place of f g.

    Raises:
        ConfigError: there is no such rule, or it is too coarse to be exact.
    """

    def __init__(
        self, paths: Sequence[Path], points: int | None = None, by_gradients: bool = False
    ) -> None:
        super().__init__()
        self.degrees = [max(path[i] for path in paths) for i in range(2)]
        self.targets = sorted({path[2] for path in paths})
        self.points = exact_points(sum(self.degrees) + self.targets[-1], points)
        self.by_gradients = by_gradients
        top = max(*self.degrees, self.targets[-1])
        values, slopes, weights = _tables(top, self.points)
        for name, table in (("values", values), ("slopes", slopes), ("weights", weights)):
            self.register_buffer(name, table, persistent=False)

    def forward(self, x: Features, y: Features) -> Features:
        """Return one part [N, 2 l3 + 1, channels] per degree that is made.

        Args:
            x: Features of degrees 0, 1, ... in this order [N, 2l + 1, channels].
            y: The same, of the other factor.
        """
        if self.by_gradients:
            f1, f2 = (self._synthesis(table, x) for table in self.get_buffer("slopes"))
            g1, g2 = (self._synthesis(table, y) for table in self.get_buffer("slopes"))
            front, back = (a * d - b * c for a, b, c, d in zip(f1, f2, g1, g2, strict=True))
            # At -n the two directions along which slopes are taken turn the other way round.
            return self._analysis(front, -back)
        values = self.get_buffer("values")
        f, g = self._synthesis(values, x), self._synthesis(values, y)
        return self._analysis(f[0] * g[0], f[1] * g[1])

    def _synthesis(self, table: Tensor, x: Features) -> tuple[Tensor, Tensor]:
        """Return values at n and, but for the sign of slopes, at -n [N, points / 2, channels]."""
        table = table.to(x[0])
        even, odd = (
            table[:, _places(len(x) - 1, first)] @ torch.cat(x[first::2], dim=1)
            if len(x) > first
            else 0 * x[0]
            for first in (0, 1)
        )
        return even + odd, even - odd

    def _analysis(self, front: Tensor, back: Tensor) -> Features:
        """Return the components of a signal given at n and -n."""
        table = (self.get_buffer("values") * self.get_buffer("weights")).to(front).mT
        halves = front + back, front - back
        return tuple(
            table[degree**2 : (degree + 1) ** 2] @ halves[degree % 2] for degree in self.targets
        )


def _places(lmax: int, first: int) -> list[int]:
    """Return the components of every second degree, beginning with `first`."""
    return [m for degree in range(first, lmax + 1, 2) for m in range(degree**2, (degree + 1) ** 2)]


def exact_points(degree: int, points: int | None = None) -> int:
    """Return the fewest points that integrate polynomials of a degree exactly, or those given.

    Raises:
        ConfigError: no rule is that fine, or the one given is not.
    """
    enough = [n for n, exact in DEGREES.items() if exact >= degree]
    if not enough:
        raise ConfigError(
            f"Degrees of this product add up to {degree}; the finest rule integrates "
            f"{max(DEGREES.values())}: lower the degrees, or take the coupling product."
        )
    if points is not None and points not in enough:
        raise ConfigError(
            f"Expected at least {enough[0]} points of a Lebedev rule, among "
            f"{', '.join(map(str, enough))}, for degrees that add up to {degree}; got {points}."
        )
    return points or enough[0]


@cache
def _tables(lmax: int, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return harmonics [P, K], their slopes along two directions [2, P, K], and weights [P, 1]."""
    directions, weights = half_rule(points)
    values = spherical_harmonics(lmax, directions)

    def by_component(n: Tensor) -> Tensor:
        return spherical_harmonics(lmax, n / n.norm(dim=1, keepdim=True)).sum(dim=0)

    jacobian = torch.autograd.functional.jacobian(by_component, directions)  # [K, P, 3]
    axis = torch.eye(3, dtype=torch.float64)[directions.abs().argmin(dim=1)]
    first = torch.linalg.cross(directions, axis)
    first = first / first.norm(dim=1, keepdim=True)
    second = torch.linalg.cross(directions, first)
    slopes = torch.stack([torch.einsum("kpa,pa->pk", jacobian, along) for along in (first, second)])
    return values, slopes, weights[:, None]
