"""Compares compiled kernels with the reference on a small random graph, before it is trusted."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.kernels import fused, reference
from matkit.nn.kernels.backends import NAMED
from matkit.nn.kernels.paths import Layout

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}  # relative to the largest number


@lru_cache(maxsize=256)
def check(layout: Layout, dtype: torch.dtype, backend: str = "fused", device: str = "cpu") -> bool:
    """Return whether a backend works here and agrees; log a warning if not.

    Both the product and its three derivatives are compared. The answer is remembered.
    """
    try:
        error = largest_error(layout, dtype, backend, device)
    # Whatever goes wrong in compiling or loading code, there is a backend that works.
    except Exception as problem:
        logger.warning("The %s convolution cannot be used, the reference is: %r", backend, problem)
        return False
    if error <= TOLERANCE[dtype]:
        return True
    logger.warning(
        "The %s convolution is off by %.1e (relative) from the reference, which is used "
        "instead. Please report this with the name of your processor or GPU.",
        backend,
        error,
    )
    return False


def largest_error(
    layout: Layout, dtype: torch.dtype, backend: str = "fused", device: str = "cpu"
) -> float:
    """Return the largest difference from the reference, relative to the largest number."""
    generator = torch.Generator().manual_seed(0)
    graph, kernels = random_graph(6, 20, generator).to(device), NAMED[backend]

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    x = tuple(random(6, 2 * degree + 1, channels) for degree, channels in layout.sources)
    g = tuple(random(6, 2 * degree + 1, channels) for degree, channels in layout.targets)
    y, w = random(20, (layout.lmax + 1) ** 2), random(20, layout.weight_numel)
    edges = fused.edges_of(graph)
    found = kernels.gradients(layout, (x, y, w), g, edges)
    with torch.enable_grad():
        leaves = [part.requires_grad_() for part in (*x, y, w)]
        out = reference.convolve(layout, x, y, w, graph)
        expected = torch.autograd.grad(out, leaves, g, materialize_grads=True)
    with torch.no_grad():
        pairs = list(zip(kernels.product(layout, x, y, w, edges), out, strict=True))
        got = (*(found.x or ()), found.harmonics, found.weights)
        pairs += [(a, b) for a, b in zip(got, expected, strict=True) if a is not None]
        return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def random_graph(atoms: int, edges: int, generator: torch.Generator) -> Graph:
    """Return a graph whose last atom has no edge."""
    ends = torch.randint(atoms - 1, (2, edges), generator=generator)
    return Graph(
        positions=torch.zeros(atoms, 3, dtype=torch.float64),
        species=torch.ones(atoms, dtype=torch.long),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([atoms]),
        center=ends[0].sort().values,
        neighbor=ends[1],
        shift=torch.zeros(edges, 3, dtype=torch.long),
        cutoff=1.0,
    )
