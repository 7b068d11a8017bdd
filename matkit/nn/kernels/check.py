"""Compares compiled kernels with the reference on a small random graph, before it is trusted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.kernels import fused, reference, tangents
from matkit.nn.kernels.backends import NAMED
from matkit.nn.kernels.paths import Layout

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}  # relative to the largest number


@lru_cache(maxsize=256)
def check(layout: Layout, dtype: torch.dtype, backend: str = "fused", device: str = "cpu") -> bool:
    """Return whether a backend works here and agrees; log a warning if not.

    Both the product and its three derivatives are compared. The answer is remembered.
    """
    return _agrees(dtype, backend, lambda: largest_error(layout, dtype, backend, device))


@lru_cache(maxsize=256)
def check_tangents(layout: Layout, dtype: torch.dtype) -> bool:
    """Return whether `tangents` agrees with the reference on the CPU; log a warning if not."""
    return _agrees(dtype, "fused", lambda: largest_error_of_tangents(layout, dtype))


def _agrees(dtype: torch.dtype, backend: str, compare: Callable[[], float]) -> bool:
    try:
        error = compare()
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

    x, y, w, g = _operands(layout, random)
    edges = fused.edges_of(graph)
    found = kernels.gradients(layout, (x, y, w), g, edges)
    with torch.enable_grad():
        leaves = [part.requires_grad_() for part in (*x, y, w)]
        out = reference.convolve(layout, x, y, w, graph)
        # A sum, because torch imports sympy when it is handed a vector.
        total = torch.stack([(a * b).sum() for a, b in zip(out, g, strict=True)]).sum()
        expected = torch.autograd.grad(total, leaves, materialize_grads=True)
    with torch.no_grad():
        pairs = list(zip(kernels.product(layout, x, y, w, edges), out, strict=True))
        got = (*(found.x or ()), found.harmonics, found.weights)
        pairs += [(a, b) for a, b in zip(got, expected, strict=True) if a is not None]
        return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def largest_error_of_tangents(layout: Layout, dtype: torch.dtype) -> float:
    """Return the same of a convolution's change and of the derivatives of that."""
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(6, 20, generator)
    edges = fused.edges_of(graph)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    *at, g = _operands(layout, random)
    *by, h = _operands(layout, random)
    pairs: list[tuple[Tensor, Tensor]] = []
    for moved in (by, [(), *by[1:]]):
        arguments = tangents.Arguments(*at), tangents.Arguments(*moved)
        with torch.enable_grad():
            x = tuple(part.clone().requires_grad_() for part in at[0])
            y, w = at[1], at[2].clone().requires_grad_()
            terms = [(x, moved[1], w), (x, y, moved[2])] + [(by[0], y, w)] * bool(moved[0])
            parts = [reference.convolve(layout, a, b, c, graph) for a, b, c in terms]
            changes = [sum(values, torch.zeros(())) for values in zip(*parts, strict=True)]
            values = reference.convolve(layout, x, y, w, graph)
            expected = torch.autograd.grad((*values, *changes), (*x, w), (*h, *g))
        pairs += zip(tangents.change(layout, *arguments, edges), changes, strict=True)
        by_x, by_w = tangents.gradients(layout, *arguments, (g, h), edges)
        pairs += zip((*by_x, by_w), expected, strict=True)
    with torch.no_grad():
        return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def _operands(layout: Layout, random: Callable[..., Tensor]) -> tuple[Any, ...]:
    """Return x, Y, w and the cotangent of the output for six atoms and twenty edges."""
    x = tuple(random(6, 2 * degree + 1, channels) for degree, channels in layout.sources)
    g = tuple(random(6, 2 * degree + 1, channels) for degree, channels in layout.targets)
    return x, random(20, (layout.lmax + 1) ** 2), random(20, layout.weight_numel), g


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
