"""Which couplings a convolution has: paths, their coefficients, and where their numbers lie."""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import NamedTuple

from matkit.nn.irreps import Irrep, Irreps, sort_irreps, wigner_3j


class Coupling(NamedTuple):
    """One coupling: feature `source` with harmonics of degree `l2` into irrep `target`."""

    source: int
    l2: int
    target: int
    channels: int


class Pair(NamedTuple):
    """A non-zero entry (m1, m3) of the matrix that couples x to the output for given Y."""

    m1: int
    m3: int
    terms: tuple[tuple[int, float], ...]  # (index into Y, coefficient)


class Layout(NamedTuple):
    """All that a kernel depends on; layers of equal layout share their compiled code.

    Attributes:
        sources: Degree and channels of every irrep of x.
        targets: Degree and channels of every irrep of the output.
        lmax: Highest degree of the harmonics.
        paths: Couplings, in the order of the weights.
    """

    sources: tuple[tuple[int, int], ...]
    targets: tuple[tuple[int, int], ...]
    lmax: int
    paths: tuple[Coupling, ...]

    @property
    def weight_numel(self) -> int:
        """Weights per edge."""
        return sum(path.channels for path in self.paths)

    def degrees(self, path: Coupling) -> tuple[int, int, int]:
        """Degrees (l1, l2, l3) of a path."""
        return self.sources[path.source][0], path.l2, self.targets[path.target][0]

    def offsets(self) -> list[tuple[int, int]]:
        """First weight and first channel within its target of every path."""
        weight, channel, found = 0, [0] * len(self.targets), []
        for path in self.paths:
            found.append((weight, channel[path.target]))
            weight += path.channels
            channel[path.target] += path.channels
        return found


def find_paths(
    irreps_in: Irreps, lmax: int, keep: Irreps, natural_parity: bool
) -> tuple[Irreps, tuple[Coupling, ...]]:
    """Return the output irreps, sorted by degree, and all couplings into the kinds of `keep`."""
    kinds = {irrep.kind for irrep in keep}
    found: list[tuple[int, int, tuple[int, int]]] = []
    for source, irrep in enumerate(irreps_in):
        for l2 in range(lmax + 1):
            p3 = irrep.p * ((-1) ** l2 if natural_parity else 1)
            degrees = range(abs(irrep.l - l2), irrep.l + l2 + 1)
            found += [(source, l2, (l3, p3)) for l3 in degrees if (l3, p3) in kinds]
    total: dict[tuple[int, int], int] = {}
    for source, _, kind in found:
        total[kind] = total.get(kind, 0) + irreps_in[source].channels
    irreps_out = sort_irreps(tuple(Irrep(n, *kind) for kind, n in total.items()))
    place = {irrep.kind: i for i, irrep in enumerate(irreps_out)}
    found.sort(key=lambda path: place[path[2]])
    paths = (
        Coupling(source, l2, place[kind], irreps_in[source].channels) for source, l2, kind in found
    )
    return irreps_out, tuple(paths)


@cache
def pairs(l1: int, l2: int, l3: int) -> tuple[Pair, ...]:
    """Return the non-zero couplings √(2 l3 + 1) · 3j(l1 m1, l2 m2, l3 m3), grouped by (m1, m3)."""
    symbol = (sqrt(2 * l3 + 1) * wigner_3j(l1, l2, l3)).tolist()
    found = []
    for m1 in range(2 * l1 + 1):
        for m3 in range(2 * l3 + 1):
            row = [(l2**2 + m2, symbol[m1][m2][m3]) for m2 in range(2 * l2 + 1)]
            terms = tuple((m, value) for m, value in row if abs(value) > 1e-12)
            if terms:
                found.append(Pair(m1, m3, terms))
    return tuple(found)
