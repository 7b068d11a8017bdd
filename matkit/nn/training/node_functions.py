"""Compiled functions of single atoms with first and second derivatives: gates and norms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from matkit.nn.equivariant import Features, Gate
from matkit.nn.irreps import Irrep
from matkit.nn.kernels.check import TOLERANCE
from matkit.nn.kernels.gates import gate_entry
from matkit.nn.kernels.launch import SCALARS, even_chunks, launch
from matkit.nn.kernels.norms import norm_entry
from matkit.nn.mixing import EquivariantNorm

logger = logging.getLogger(__name__)

Irreps = tuple[tuple[int, int], ...]  # degree and channels of each


@dataclass(frozen=True)
class NodeFunction:
    """A gate or a norm as a function of features and, of the norm, weights.

    Attributes:
        irreps: Degree and channels of every irrep of the output.
        offset: Of the norm's mean squares; None for a gate.
    """

    irreps: Irreps
    offset: float | None = None

    @classmethod
    def of(cls, module: Gate | EquivariantNorm) -> NodeFunction:
        """Return the function that a module computes."""
        if isinstance(module, EquivariantNorm):
            return cls(tuple((i.l, i.channels) for i in module.irreps), module.offset)
        kinds = zip(module.kinds, module.irreps_in[1:], strict=True)
        rest = ((degree, irrep.channels) for (degree, _), irrep in kinds)
        return cls(((0, module.scalars), *rest))

    def values(self, x: Features, weights: Features) -> Features:
        """Return the values [N, 2l + 1, channels] of every irrep."""
        out = self._outputs(x[0])
        self._launch(0, (*x, *weights, *out))
        return out

    def first(self, x: Features, weights: Features, g: Features) -> tuple[Features, Features]:
        """Return the derivatives by features and weights of the values times g."""
        by_x, by_weights = tuple(map(torch.empty_like, x)), self._by_atom(x[0])
        self._launch(1, (*x, *g, *weights, *by_x, *by_weights))
        return by_x, by_weights

    def second(
        self, x: Features, weights: Features, g: Features, h: Features
    ) -> tuple[Features, Features, Features]:
        """Return the derivatives, by features, g and weights, of `first` by features times h."""
        by_x, by_weights = tuple(map(torch.empty_like, x)), self._by_atom(x[0])
        by_g = self._outputs(x[0])
        self._launch(2, (*x, *g, *h, *weights, *by_x, *by_g, *by_weights))
        return by_x, by_g, by_weights

    def _outputs(self, like: Tensor) -> Features:
        n = len(like)
        return tuple(
            like.new_empty(n, 2 * degree + 1, channels) for degree, channels in self.irreps
        )

    def _by_atom(self, like: Tensor) -> Features:
        """Return memory for derivatives by the weights, one row for each atom."""
        if self.offset is None:
            return ()
        return tuple(like.new_empty(len(like), channels) for _, channels in self.irreps)

    def _launch(self, order: int, tensors: Sequence[Tensor]) -> None:
        scalar = SCALARS[tensors[0].dtype]
        if self.offset is None:
            entry = gate_entry(scalar, self.irreps, order)
        else:
            entry = norm_entry(scalar, self.irreps, self.offset, order)
        launch(entry, tensors, even_chunks(len(tensors[0])))


def usable(module: Gate | EquivariantNorm, dtype: torch.dtype) -> bool:
    """Return whether there are kernels for a module on the CPU, and they agree with it."""
    return dtype in SCALARS and _agrees(NodeFunction.of(module), dtype)


@lru_cache(maxsize=256)
def _agrees(function: NodeFunction, dtype: torch.dtype) -> bool:
    """Return whether the kernels work here and agree with torch; log a warning if not."""
    try:
        error = largest_error(function, dtype)
    # Whatever goes wrong in compiling or loading code, autograd works.
    except Exception as problem:
        logger.warning("Compiled nodes cannot be used, autograd is: %r", problem)
        return False
    if error <= TOLERANCE[dtype]:
        return True
    logger.warning(
        "A compiled node is off by %.1e (relative) from plain torch, which is used instead. "
        "Please report this with the name of your processor.",
        error,
    )
    return False


def largest_error(function: NodeFunction, dtype: torch.dtype) -> float:
    """Return the largest difference from plain torch, relative to the largest number."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    module = _module(function).double()
    weights = tuple(module.parameters())
    for weight in weights:
        weight.data = random(*weight.shape)
    rows = [[channels] for _, channels in function.irreps]
    if function.offset is None:
        rows[0] = [sum(channels for degree, channels in function.irreps if degree) + rows[0][0]]
    shapes = [
        (2 * degree + 1, *row) for (degree, _), row in zip(function.irreps, rows, strict=True)
    ]
    x = tuple(random(5, *shape) for shape in shapes)
    h = tuple(random(5, *shape) for shape in shapes)
    with torch.enable_grad():
        leaves = tuple(part.clone().requires_grad_() for part in x)
        values = module(leaves)
        g = tuple(random(*part.shape).requires_grad_() for part in values)
        first = torch.autograd.grad(values, (*leaves, *weights), g, create_graph=True)
        second = torch.autograd.grad(first[: len(x)], (*leaves, *g, *weights), h)
    with torch.no_grad():
        args = [tuple(part.detach().to(dtype) for part in parts) for parts in (x, weights, g, h)]
        found = function.values(*args[:2]), function.first(*args[:3]), function.second(*args)
        count = len(weights)
        pairs = [*zip(found[0], values, strict=True)]
        pairs += zip(found[1][0], first, strict=False)
        pairs += zip(_summed(found[1][1]), first[len(x) :], strict=True)
        pairs += zip((*found[2][0], *found[2][1]), second, strict=False)
        pairs += zip(_summed(found[2][2]), second[len(second) - count :], strict=True)
        return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def _module(function: NodeFunction) -> Gate | EquivariantNorm:
    """Return a module that computes a function."""
    (_, scalars), *rest = function.irreps
    # The second irrep of degree zero is the odd one.
    irreps = (Irrep(scalars, 0, 1), *(Irrep(channels, degree, -1) for degree, channels in rest))
    if function.offset is None:
        return Gate(irreps)
    return EquivariantNorm(irreps, 1.0, function.offset)


def _summed(by_atom: Features) -> Features:
    return tuple(part.sum(dim=0) for part in by_atom)
