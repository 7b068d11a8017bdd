"""The contraction as autograd Functions; the first two derivatives are compiled.

Of the scalar S(x, c, g) = <g, B(x, c)>, linear in c and g, the Functions are: B, its derivative by
g; those by x and c; and the changes of all three as x moves along h. Derivatives of the latter, the
third ones of S, are left to plain torch. Weights become coefficients in plain torch before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.kernels.contraction import polynomial
from matkit.nn.kernels.contraction.coefficients import coefficients
from matkit.nn.kernels.contraction.compiled import kernel_for
from matkit.nn.kernels.contraction.dispatch import derivative
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.needed_inputs import needed_inputs
from matkit.nn.species_rows import SpeciesRows, species_rows

Given = Sequence[Tensor]


class _Setting(NamedTuple):
    """What all derivatives of a contraction have in common."""

    layout: ContractionLayout
    rows: SpeciesRows

    @property
    def sizes(self) -> dict[str, int]:
        """Number of tensors that the derivative by each variable is."""
        return {"c": 1, "x": len(self.layout.sources), "g": len(self.layout.targets)}

    def split(self, args: Given) -> tuple[Tensor, Features, Features]:
        """Divide arguments into c, x and the rest."""
        end = 1 + len(self.layout.sources)
        return args[0], tuple(args[1:end]), tuple(args[end:])

    def derivative(self, variable: str, operands: Operands) -> tuple[Tensor, ...]:
        """Return a derivative, without autograd."""
        c, *features = operands
        parts = (tuple(part.contiguous() for part in feature) for feature in features)
        return derivative(self.layout, variable, Operands(c.contiguous(), *parts), self.rows)


def contract(
    layout: ContractionLayout, x: Features, weights: Sequence[Tensor], index: Tensor
) -> Features:
    """Return what `reference.contract` does, differentiable to any order."""
    rows = species_rows(index, len(weights[0]))
    if len(rows.species) < len(weights[0]):
        weights = [weight[rows.species] for weight in weights]
    c = coefficients(layout, weights, kernel_for(layout, x[0].dtype).lanes)
    return tuple(_Values.apply(_Setting(layout, rows), c, *x))  # type: ignore[no-untyped-call]


class _Values(torch.autograd.Function):
    """B(x, c)."""

    @staticmethod
    def forward(ctx: Any, setting: _Setting, *args: Tensor) -> tuple[Tensor, ...]:
        ctx.setting = setting
        ctx.save_for_backward(*args)
        c, x, _ = setting.split(args)
        return setting.derivative("g", Operands(c, x))

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Any, ...]:
        need = needed_inputs(ctx)
        wanted = "c" * need[0] + "x" * any(need[1:])
        return None, *_first_derivatives(ctx.setting, wanted, ctx.saved_tensors, g)


class _FirstDerivatives(torch.autograd.Function):
    """Derivatives of S by c and x."""

    @staticmethod
    def forward(ctx: Any, setting: _Setting, wanted: str, *args: Tensor) -> tuple[Any, ...]:
        ctx.setting = setting
        ctx.save_for_backward(*args)
        ctx.set_materialize_grads(False)
        c, x, g = setting.split(args)
        operands = Operands(c, x, g)
        by_c = setting.derivative("c", operands) if "c" in wanted else (None,)
        return *by_c, *(setting.derivative("x", operands) if "x" in wanted else (None,) * len(x))

    @staticmethod
    def backward(ctx: Any, by_c: Any, *by_x: Any) -> tuple[Any, ...]:
        setting = ctx.setting
        c, x, g = setting.split(ctx.saved_tensors)
        need = needed_inputs(ctx)
        n = 1 + len(x)
        flags = {"c": need[0], "x": any(need[1:n]), "g": any(need[n:])}
        total: list[Tensor | None] = [None] * len(need)
        if by_c is not None:
            # S is linear in c, for which the cotangent stands in.
            if flags["x"]:
                total[:n] = _first_derivatives(setting, "x", (by_c, *x), g)
            if flags["g"]:
                total[n:] = _Values.apply(setting, by_c, *x)  # type: ignore[no-untyped-call]
        if any(part is not None for part in by_x):
            h = (torch.zeros_like(a) if b is None else b for a, b in zip(x, by_x, strict=True))
            wanted = "".join(name for name in "cxg" if flags[name])
            changes = _SecondDerivatives.apply(setting, wanted, c, *x, *h, *g)  # type: ignore[no-untyped-call]
            total = [_sum(a, b) for a, b in zip(total, changes, strict=True)]
        return None, None, *total


class _SecondDerivatives(torch.autograd.Function):
    """How the derivatives of S by c, x and g change as x moves along h."""

    @staticmethod
    def forward(ctx: Any, setting: _Setting, wanted: str, *args: Tensor) -> tuple[Any, ...]:
        ctx.setting = setting
        ctx.save_for_backward(*args)
        ctx.set_materialize_grads(False)
        operands = _operands(setting, args)
        parts: list[Tensor | None] = []
        for name, size in setting.sizes.items():
            parts += setting.derivative(name, operands) if name in wanted else (None,) * size
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        layout, slot = ctx.setting.layout, ctx.setting.rows.slot
        given, create_graph = iter(cotangents), torch.is_grad_enabled()
        with torch.enable_grad():
            nodes = [polynomial.node(tensor) for tensor in ctx.saved_tensors]
            operands, scalars = _operands(ctx.setting, nodes), []
            for name, size in ctx.setting.sizes.items():
                factors = list(islice(given, size))
                if any(factor is not None for factor in factors):
                    found = polynomial.derivative(layout, name, operands, slot)
                    pairs = zip(found, factors, strict=True)
                    scalars += [(a * b).sum() for a, b in pairs if b is not None]
            return (
                None,
                None,
                *torch.autograd.grad(
                    scalars, nodes, create_graph=create_graph, materialize_grads=True
                ),
            )


def _operands(setting: _Setting, args: Given) -> Operands:
    c, x, rest = setting.split(args)
    return Operands(c, x, rest[len(x) :], rest[: len(x)])


def _first_derivatives(setting: _Setting, wanted: str, args: Given, g: Given) -> tuple[Any, ...]:
    if not wanted:
        return (None,) * len(args)
    return tuple(_FirstDerivatives.apply(setting, wanted, *args, *g))  # type: ignore[no-untyped-call]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
