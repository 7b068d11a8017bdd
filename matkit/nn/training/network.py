"""All layers of a network as two Functions of autograd, see the package.

The energy's derivative keeps what the loss's derivative by it means for the layers, and the way
back through the layers takes both together, once. So that it comes after, the first Function hands
the second one a number without meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.needed_inputs import needed_inputs
from matkit.nn.training.layers import LayerStep


class PlainLayers(nn.Module):
    """The layers by autograd, for derivatives that steps do not have.

    Args:
        layers: Interaction layers.
        index: Index of each atom's species [N].
        graph: Edges.
    """

    def __init__(self, layers: nn.ModuleList, index: Tensor, graph: Graph) -> None:
        super().__init__()
        self.layers, self.index, self.graph = layers, index, graph

    def forward(self, x: Tensor, basis: Tensor, harmonics: Tensor) -> Tensor:
        """Return the scalars of the last layer [N, 1, channels]."""
        y: Features = (x,)
        for layer in self.layers:
            y = layer(y, self.index, basis, harmonics, self.graph)
        return y[0]


class Layers:
    """The layers for one batch.

    Args:
        make: Returns a step for each layer.
        plain: The same by autograd.
    """

    def __init__(self, make: Callable[[], Sequence[LayerStep]], plain: PlainLayers) -> None:
        self.make, self.module = make, plain
        self.steps = steps = make()
        self.weights = [weight for step in steps for weight in step.weights]
        # Of the energy's derivative: by the scalars, and the loss's by it.
        self.g: Tensor | None = None
        self.directions: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, basis: Tensor, harmonics: Tensor) -> Tensor:
        """Return the scalars of the last layer [N, 1, channels]."""
        scalars, _ = _Scalars.apply(self, x, basis, harmonics, *self.weights)  # type: ignore[no-untyped-call]
        return scalars

    def values(self, x: Tensor, basis: Tensor, harmonics: Tensor) -> Tensor:
        """Return the scalars of the last layer."""
        y: Features = (x,)
        for step in self.steps:
            y = step.values(y, basis, harmonics)
        return y[0]

    def reverse(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energy's derivatives by basis and harmonics."""
        self.g = g
        back: Features = (g,)
        by_basis: Tensor | None = None
        by_harmonics: Tensor | None = None
        for step in reversed(self.steps):
            back, basis, harmonics = step.reverse(back)
            by_basis = basis if by_basis is None else by_basis.add_(basis)
            by_harmonics = harmonics if by_harmonics is None else by_harmonics.add_(harmonics)
        assert by_basis is not None and by_harmonics is not None
        return by_basis, by_harmonics

    def tangent(self, d_basis: Tensor, d_harmonics: Tensor) -> Tensor:
        """Return how the scalars change."""
        self.directions = d_basis, d_harmonics
        dx: Sequence[Tensor | None] = (None,)  # the embedding stays
        for step in self.steps:
            dx = step.tangent(dx, d_basis, d_harmonics)
        assert dx[0] is not None
        return dx[0]

    def gradient(self, g: Tensor) -> tuple[Any, ...]:
        """Return the loss's derivatives by embedding, basis, no harmonics, and weights."""
        self.directions = None
        back: Features = (g,)
        by_basis: Tensor | None = None
        for step in reversed(self.steps):
            back, basis = step.gradient(back)
            by_basis = basis if by_basis is None else by_basis.add_(basis)
        return back[0], by_basis, None, *(d for step in self.steps for d in step.by_weights)

    def plain(self, x: Tensor, basis: Tensor, harmonics: Tensor, *weights: Tensor) -> Tensor:
        """Return the scalars by autograd, as a function of the weights too."""
        # Weights were others while a low-rank change was trained.
        names = {id(weight): name for name, weight in self.module.named_parameters()}
        own = [names[id(weight)] for step in self.make() for weight in step.weights]
        changed = dict(zip(own, weights, strict=True))
        scalars: Tensor = functional_call(self.module, changed, (x, basis, harmonics))
        return scalars

    def plain_gradient(self, args: Features, g: Tensor) -> tuple[Any, ...]:
        """Return the same by all inputs, by autograd."""
        with torch.enable_grad():
            inputs = [part.detach().requires_grad_() for part in args]
            scalars = self.plain(*inputs)
            outputs, given = [scalars], [g]
            if self.g is not None and self.directions is not None:
                outputs += torch.autograd.grad(scalars, inputs[1:3], self.g, create_graph=True)
                given += self.directions
            return torch.autograd.grad(outputs, inputs, given)


class _Scalars(torch.autograd.Function):
    """The layers."""

    @staticmethod
    def forward(ctx: Any, layers: Layers, *args: Tensor) -> tuple[Tensor, Tensor]:
        ctx.layers = layers
        handle = args[0].new_zeros(())
        ctx.save_for_backward(*args, handle)
        return layers.values(*(part.contiguous() for part in args[:3])), handle

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Any, ...]:
        (*args, handle), need = ctx.saved_tensors, needed_inputs(ctx)
        layers, g = ctx.layers, g.contiguous()
        if not torch.is_grad_enabled():
            # Derivatives by the harmonics are those by positions: the way of Hessians.
            gradient = layers.plain_gradient if need[2] else None
            return None, *(layers.gradient(g) if gradient is None else gradient(args, g))
        if any((need[0], *need[3:])) or layers.g is not None:
            wanted = [part for part, needed in zip(args, need, strict=True) if needed]
            scalars = layers.plain(*args)
            found = iter(torch.autograd.grad(scalars, wanted, g, create_graph=True))
            return None, *(next(found) if needed else None for needed in need)
        found = _Forces.apply(layers, g, handle, *args)  # type: ignore[no-untyped-call]
        return None, None, *found, *(None for _ in layers.weights)


class _Forces(torch.autograd.Function):
    """The derivatives by basis and harmonics."""

    @staticmethod
    def forward(
        ctx: Any, layers: Layers, g: Tensor, handle: Tensor, *args: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.layers = layers
        ctx.save_for_backward(g, *args)
        return layers.reverse(g)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor) -> tuple[Any, ...]:
        layers, (g, *args) = ctx.layers, ctx.saved_tensors
        if not torch.is_grad_enabled():
            changes = layers.tangent(*(part.contiguous() for part in directions))
            return None, changes, changes.new_zeros(()), *(None for _ in args)
        first = torch.autograd.grad(layers.plain(*args), args[1:3], g, create_graph=True)
        wanted = [part for part in (g, *args) if part.requires_grad]
        found = iter(
            torch.autograd.grad(first, wanted, directions, create_graph=True, allow_unused=True)
        )
        by_g, *by_args = (next(found) if part.requires_grad else None for part in (g, *args))
        return None, by_g, None, *by_args
