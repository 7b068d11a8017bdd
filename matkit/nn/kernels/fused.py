"""The fused CPU backend: compiled kernels behind plain functions.

These are for callers that do their own differentiation; `autograd` builds on them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from matkit.errors import ConfigError, StructureError
from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.kernels import compiler
from matkit.nn.kernels.codegen import generate
from matkit.nn.kernels.kernel import Kernel
from matkit.nn.kernels.launch import SCALARS, launch, row_chunks
from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.spline import SPLINES


class Edges(NamedTuple):
    """The integers kernels need, in both orders; the centres may be fewer than the senders.

    Attributes:
        start: Row pointers by centre [centres + 1].
        center: Atom at which an edge is summed [E], sorted.
        neighbor: Atom whose feature is sent [E].
        transpose_start: Row pointers by neighbour [N + 1].
        transpose: Edges sorted by neighbour [E].
    """

    start: Tensor
    center: Tensor
    neighbor: Tensor
    transpose_start: Tensor
    transpose: Tensor


class Gradients(NamedTuple):
    """Derivatives of <g, conv(x, Y, w)>; None where not asked for.

    Attributes:
        x: By the features [N, 2l + 1, channels] per irrep.
        harmonics: By the harmonics [E, (lmax + 1)²].
        weights: By the weights [E, weight_numel]; with a table, by the edge lengths [E].
    """

    x: Features | None
    harmonics: Tensor | None
    weights: Tensor | None


def edges_of(graph: Graph) -> Edges:
    """Return the integer tables of a graph, remembered as long as its edges stay the same.

    Raises:
        StructureError: edges are not sorted by centre, or name atoms that do not exist.
    """
    edges: Edges | None = graph.tables.get("edges")
    if edges is None:
        edges = graph.tables["edges"] = _checked_edges(graph)
    return edges


def _checked_edges(graph: Graph) -> Edges:
    ends, n_atoms = torch.stack([graph.center, graph.neighbor]), len(graph.species)
    if ends.is_cuda and torch.cuda.is_current_stream_capturing():
        # No number can be looked at now; the warm-up before has seen the same.
        permutation, pointers = graph.transpose
        return Edges(*(t.contiguous() for t in (graph.pointers, *ends, pointers, permutation)))
    numbers = ends.cpu().numpy()
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < n_atoms:
        raise StructureError(
            f"Edges must connect atoms 0 to {n_atoms - 1}, got {numbers.min()} to {numbers.max()}."
        )
    if (numbers[0, 1:] < numbers[0, :-1]).any():
        raise StructureError(
            "Edges must be sorted by their centre; sort center, neighbor and shift with "
            "torch.argsort(center, stable=True)."
        )
    permutation, pointers = graph.transpose
    return Edges(*(t.contiguous() for t in (graph.pointers, *ends, pointers, permutation)))


def with_isolated(edges: Edges, count: int) -> Edges:
    """Return the edges of atoms that are followed by so many without any."""
    if not count:
        return edges
    start, transpose_start = (
        torch.cat([part, part[-1:].expand(count)]) for part in (edges.start, edges.transpose_start)
    )
    return edges._replace(start=start, transpose_start=transpose_start)


class TableWeights(NamedTuple):
    """Weights given by a table of the edge length; see `matkit.nn.frozen.radial_table`.

    Attributes:
        rows: Those of every knot [knots, rows, weight_numel], see `matkit.nn.kernels.spline`.
        grid: Logarithm of the first knot (in Å), one over the step, last index but one [3],
            float64.
        lengths: Edge lengths [E] in Å, float64.
    """

    rows: Tensor
    grid: Tensor
    lengths: Tensor


Weights = Tensor | TableWeights
Inputs = tuple[Features, Tensor, Weights]  # x, harmonics, weights


@lru_cache(maxsize=256)
def kernel_entry(layout: Layout, dtype: torch.dtype, gradients: str, table: bool) -> int:
    """Return the address of a kernel, compiling it where it is in no cache."""
    size, registers = compiler.vector_unit()
    kernel = Kernel(layout, SCALARS[dtype], gradients, "", table, size, registers)
    return compiler.load(repr(kernel), lambda: generate(kernel))


def product(
    layout: Layout, x: Features, harmonics: Tensor, weights: Weights, edges: Edges
) -> Features:
    """Return the convolution, without autograd.

    Args:
        layout: Irreps and paths.
        x: Features per irrep [N, 2l + 1, channels], contiguous like all that follows.
        harmonics: Y of every edge [E, (lmax + 1)²].
        weights: Weights [E, weight_numel], or a table to interpolate them from.
        edges: Edges.
    """
    check_operands(layout, (x, harmonics, weights), edges, device="cpu")
    return unchecked_product(layout, x, harmonics, weights, edges)


def unchecked_product(
    layout: Layout, x: Features, harmonics: Tensor, weights: Weights, edges: Edges
) -> Features:
    """Return the same, for callers whose tensors come from kernels."""
    n_atoms = edges.start.shape[0] - 1
    out = tuple(
        harmonics.new_empty(n_atoms, 2 * degree + 1, channels)
        for degree, channels in layout.targets
    )
    tensors = [edges.start, None, edges.neighbor, harmonics, *_weight_tensors(weights), *x, *out]
    entry = kernel_entry(layout, harmonics.dtype, "", isinstance(weights, TableWeights))
    launch(entry, tensors, row_chunks(edges.start))
    return out


def gradients(
    layout: Layout, inputs: Inputs, g: Features, edges: Edges, variables: str = "xyw"
) -> Gradients:
    """Return derivatives of <g, conv(x, Y, w)> in one pass over the edges, without autograd.

    Args:
        layout: Irreps and paths.
        inputs: x, Y and w as in `product`.
        g: Cotangent of the output [N, 2l + 1, channels] per irrep.
        edges: Edges.
        variables: What to differentiate by, a part of "xyw" in this order.
    """
    check_operands(layout, inputs, edges, g, device="cpu")
    return unchecked_gradients(layout, inputs, g, edges, variables)


def unchecked_gradients(
    layout: Layout, inputs: Inputs, g: Features, edges: Edges, variables: str = "xyw"
) -> Gradients:
    """Return the same, for callers whose tensors come from kernels."""
    x, harmonics, weights = inputs
    table = isinstance(weights, TableWeights)
    dx = tuple(torch.empty_like(part) for part in x) if "x" in variables else None
    # Edges in no row (padding) count nothing, and nothing is written for them.
    new = harmonics.new_empty if int(edges.start[-1]) == len(harmonics) else harmonics.new_zeros
    dy = new(harmonics.shape) if "y" in variables else None
    dw = None
    if "w" in variables:
        dw = new(len(harmonics), *(() if table else (layout.weight_numel,)))
    start = edges.transpose_start if "x" in variables else edges.start
    rows = [edges.transpose, edges.center] if "x" in variables else [None, edges.neighbor]
    tensors = [start, *rows, harmonics, *_weight_tensors(weights), *x, *g, *(dx or ())]
    tensors += [part for part in (dy, dw) if part is not None]
    launch(kernel_entry(layout, harmonics.dtype, variables, table), tensors, row_chunks(start))
    if dw is not None and isinstance(weights, TableWeights):
        dw.div_(weights.lengths)  # the kernel's is by the logarithm
    return Gradients(dx, dy, dw)


def _weight_tensors(weights: Weights) -> list[Tensor | None]:
    if isinstance(weights, TableWeights):
        return [weights.rows, weights.lengths.log(), weights.grid]
    return [weights, None, None]


def check_operands(
    layout: Layout,
    inputs: Inputs,
    edges: Edges,
    g: Features | None = None,
    device: str | None = None,
) -> None:
    """Refuse what compiled code would misread.

    Args:
        layout: Irreps and paths.
        inputs: x, Y and w as in `product`.
        edges: Edges.
        g: Cotangent of the output, if there is one.
        device: Where all must be; None for where Y is.

    Raises:
        ConfigError: a shape, a type or a place in memory is not what the kernels expect.
    """
    x, harmonics, weights = inputs
    senders, n_edges = len(edges.transpose_start) - 1, len(edges.center)
    like = harmonics.new_empty(0, device=device or harmonics.device)
    check_features("x", x, layout.sources, (senders, like))
    if g is not None:
        check_features("g", g, layout.targets, (len(edges.start) - 1, like))
    check_tensor("harmonics", harmonics, (n_edges, (layout.lmax + 1) ** 2), like)
    if isinstance(weights, TableWeights):
        spline = SPLINES[SCALARS[like.dtype]]
        shape = (len(weights.rows), spline.rows, layout.weight_numel)
        check_tensor("rows", weights.rows, shape, like)
        check_tensor("lengths", weights.lengths, (n_edges,), like.double())
    else:
        check_tensor("weights", weights, (n_edges, layout.weight_numel), like)


def check_features(
    name: str,
    features: Features,
    irreps: tuple[tuple[int, int], ...],
    what: tuple[int, Tensor],
) -> None:
    """Refuse features that compiled code would misread.

    Args:
        name: What to call them.
        features: Features per irrep [N, 2l + 1, channels].
        irreps: Degree and channels of every irrep.
        what: Number of atoms, and a tensor of the type and on the device that are expected.

    Raises:
        ConfigError: a shape, a type or a place in memory is not what the kernels expect.
    """
    for i, (part, (degree, channels)) in enumerate(zip(features, irreps, strict=True)):
        check_tensor(f"{name}[{i}]", part, (what[0], 2 * degree + 1, channels), what[1])


def check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a tensor that compiled code would misread.

    Raises:
        ConfigError: the shape, the type or the place in memory is not what the kernels expect.
    """
    if tensor.shape != shape or tensor.dtype != like.dtype:
        raise ConfigError(
            f"Expected `{name}` of shape {shape} and type {like.dtype}, got "
            f"{tuple(tensor.shape)} and {tensor.dtype}."
        )
    if not tensor.is_contiguous() or tensor.device.type != like.device.type:
        raise ConfigError(
            f"Expected `{name}` contiguous on {like.device}, got strides {tensor.stride()} on "
            f"{tensor.device}; call .contiguous() or use the reference backend."
        )
