"""The channelwise tensor-product convolution, the operation steerable networks live in."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irrep, Irreps, sort_irreps, wigner_3j
from matkit.nn.scatter import scatter_sum


class Path(NamedTuple):
    """One coupling: feature `source` with harmonics of degree `l2` into irrep `target`."""

    source: int
    l2: int
    target: int
    channels: int


class Convolution(nn.Module):
    """``out_i = sum over edges (i, j) of w_ij ⊙ (x_j ⊗ Y_ij)``, one weight per path and channel.

    The product is "uvu": each channel of x is coupled with the single channel of Y by the
    Clebsch-Gordan coefficients of each path, normalised by √(2 l3 + 1) as in e3nn
    (Thomas et al. 2018, https://arxiv.org/abs/1802.08219; Batzner et al. 2022, eq. 6). Paths
    into the same irrep are concatenated along channels.

    Args:
        irreps_in: Irreps of x.
        lmax: Highest degree of the harmonics Y.
        keep: Irreps whose kinds are kept in the output (their channels are ignored).
        natural_parity: Whether Y_l has parity (-1)^l; otherwise all are even and the network
            does not tell a mirror image (SO(3) only).

    Attributes:
        irreps_out: Irreps of the output, sorted by degree.
        paths: Couplings, in the order of the weights.
        weight_numel: Weights per edge.
    """

    def __init__(self, irreps_in: Irreps, lmax: int, keep: Irreps, natural_parity: bool) -> None:
        super().__init__()
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
        self.irreps_in = irreps_in
        self.irreps_out = sort_irreps(tuple(Irrep(n, *kind) for kind, n in total.items()))
        self.lmax = lmax
        place = {irrep.kind: i for i, irrep in enumerate(self.irreps_out)}
        found.sort(key=lambda path: place[path[2]])
        self.paths = tuple(
            Path(source, l2, place[kind], irreps_in[source].channels) for source, l2, kind in found
        )
        self.weight_numel = sum(path.channels for path in self.paths)

    def forward(
        self,
        x: Features,
        harmonics: Float[Tensor, "E K"],
        weights: Float[Tensor, "E W"],
        graph: Graph,
    ) -> Features:
        """Send messages along all edges.

        Args:
            x: Features per irrep [N, 2l + 1, channels].
            harmonics: Y of every edge [E, (lmax + 1)²].
            weights: Radial weights [E, weight_numel].
            graph: Edges.

        Returns:
            Features per irrep of `irreps_out` [N, 2l + 1, channels].
        """
        sent = [feature[graph.neighbor] for feature in x]
        messages: list[list[Tensor]] = [[] for _ in self.irreps_out]
        split = torch.split(weights, [path.channels for path in self.paths], dim=1)
        for path, weight in zip(self.paths, split, strict=True):
            l1, l3 = self.irreps_in[path.source].l, self.irreps_out[path.target].l
            symbol = (sqrt(2 * l3 + 1) * wigner_3j(l1, path.l2, l3)).to(harmonics)
            y = harmonics[:, path.l2**2 : (path.l2 + 1) ** 2]
            coupling = torch.einsum("abc,eb->eca", symbol, y)
            messages[path.target].append(coupling @ sent[path.source] * weight.unsqueeze(1))
        n_atoms = len(graph.species)
        return tuple(
            scatter_sum(torch.cat(parts, dim=2), graph.center, n_atoms, graph.pointers)
            for parts in messages
        )
