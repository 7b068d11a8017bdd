"""Compares the kernels that read radial tables with plain torch, before they are trusted."""

from __future__ import annotations

import logging
from functools import lru_cache
from math import log

import torch
from torch import Tensor

from matkit.nn.frozen.table_rows import interpolate
from matkit.nn.kernels import fused, reference
from matkit.nn.kernels.backends import NAMED
from matkit.nn.kernels.check import TOLERANCE, random_graph
from matkit.nn.kernels.fused import TableWeights
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.spline import SPLINES

logger = logging.getLogger(__name__)

ATOMS, EDGES, KNOTS = 6, 20, 7
LOW, HIGH = 0.5, 5.0


@lru_cache(maxsize=256)
def check_table(
    layout: Layout, dtype: torch.dtype, variables: str, backend: str = "fused", device: str = "cpu"
) -> bool:
    """Return whether a layer's kernels that interpolate weights agree; log a warning if not.

    The answer is remembered.

    Args:
        layout: Irreps and paths.
        dtype: Type of features and table.
        variables: What will be differentiated by, as in `fused.gradients`.
        backend: Name of the kernels.
        device: Where to run them.
    """
    try:
        error = largest_error(layout, dtype, variables, backend, device)
        problem = f"they are off by {error:.1e} (relative)"
    # Whatever goes wrong in compiling or loading code, there is a path that works.
    except Exception as failure:
        error, problem = float("inf"), repr(failure)
    if error <= TOLERANCE[dtype]:
        return True
    logger.warning(
        "Kernels with radial tables cannot be used, radial networks are evaluated instead: %s. "
        "Please report this with the name of your processor or GPU.",
        problem,
    )
    return False


def largest_error(
    layout: Layout, dtype: torch.dtype, variables: str, backend: str = "fused", device: str = "cpu"
) -> float:
    """Return the largest difference from plain torch, relative to the largest number."""
    generator = torch.Generator().manual_seed(0)
    graph, kernels = random_graph(ATOMS, EDGES, generator).to(device), NAMED[backend]

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    x = tuple(random(ATOMS, 2 * degree + 1, channels) for degree, channels in layout.sources)
    g = tuple(random(ATOMS, 2 * degree + 1, channels) for degree, channels in layout.targets)
    y, spline = random(EDGES, (layout.lmax + 1) ** 2), SPLINES[SCALARS[dtype]]
    rows = random(KNOTS, spline.rows, layout.weight_numel)
    step = log(HIGH / LOW) / (KNOTS - 1)
    grid = torch.tensor([log(LOW), 1 / step, KNOTS - 2], dtype=torch.float64)
    between = torch.rand(EDGES, generator=generator, dtype=torch.float64)
    table = TableWeights(rows, grid.to(device), (LOW * (HIGH / LOW) ** between).to(device))
    edges = fused.edges_of(graph)
    got = [*kernels.product(layout, x, y, table, edges)]
    found = kernels.gradients(layout, (x, y, table), g, edges, variables)
    got += [part for part in (*(found.x or ()), found.harmonics, found.weights) if part is not None]

    w, slope = interpolate(spline, *table)
    with torch.enable_grad():
        leaves = {"x": x, "y": (y,), "w": (w,)}
        chosen = [part.requires_grad_() for key in variables for part in leaves[key]]
        out = reference.convolve(layout, x, y, w, graph)
        # One number, because torch imports sympy when it is handed vectors.
        scalar = torch.stack([(a * b).sum() for a, b in zip(out, g, strict=True)]).sum()
        by = list(torch.autograd.grad(scalar, chosen, materialize_grads=True))
    if "w" in variables:
        by[-1] = (by[-1] * slope).sum(dim=1)
    expected = [*(part.detach() for part in out), *by]
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(got, expected, strict=True)
    )
