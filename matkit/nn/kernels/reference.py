"""The convolution in plain torch: any device, any order of derivative."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.irreps import wigner_3j
from matkit.nn.kernels.paths import Layout
from matkit.nn.scatter import scatter_sum


def convolve(
    layout: Layout, x: Features, harmonics: Tensor, weights: Tensor, graph: Graph
) -> Features:
    """Return the convolution; see `Convolution.forward` for the shapes."""
    sent = [feature[graph.neighbor] for feature in x]
    messages: list[list[Tensor]] = [[] for _ in layout.targets]
    split = torch.split(weights, [path.channels for path in layout.paths], dim=1)
    for path, weight in zip(layout.paths, split, strict=True):
        l1, l2, l3 = layout.degrees(path)
        symbol = (sqrt(2 * l3 + 1) * wigner_3j(l1, l2, l3)).to(harmonics)
        y = harmonics[:, l2**2 : (l2 + 1) ** 2]
        coupling = torch.einsum("abc,eb->eca", symbol, y)
        messages[path.target].append(coupling @ sent[path.source] * weight.unsqueeze(1))
    n_atoms = len(graph.species)
    return tuple(
        scatter_sum(torch.cat(parts, dim=2), graph.center, n_atoms, graph.pointers)
        for parts in messages
    )
