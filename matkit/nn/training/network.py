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

from matkit.nn.equivariant import Features
from matkit.nn.needed_inputs import needed_inputs
from matkit.nn.training.geometry import GeometryStep
from matkit.nn.training.layers import LayerStep


class PlainLayers(nn.Module):
    """The layers by autograd, for derivatives that steps do not have.

    Args:
        network: The network.
        function: From embedding [N, 1, channels] and edge vectors [E, 3] to the last layer's
            scalars by the network's own parameters.
        weights: These parameters, in the order of the layers' weights.
    """

    def __init__(
        self,
        network: nn.Module,
        function: Callable[[Tensor, Tensor], Tensor],
        weights: Callable[[], Sequence[Tensor]],
    ) -> None:
        super().__init__()
        self.network, self.function, self.weights = network, function, weights

    def forward(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Return the scalars by the network's own parameters."""
        return self.function(x, vectors)

    def with_weights(self, x: Tensor, vectors: Tensor, *weights: Tensor) -> Tensor:
        """Return the scalars by other weights: a low-rank change may have been trained."""
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        own = (names[id(weight)] for weight in self.weights())
        changed = dict(zip(own, weights, strict=True))
        scalars: Tensor = functional_call(self, changed, (x, vectors))
        return scalars


class Layers:
    """The layers for one batch.

    Args:
        geometry: From edge vectors to what the layers see of them.
        steps: One for each layer.
        plain: From embedding, vectors and weights to the scalars, by autograd.
    """

    def __init__(
        self,
        geometry: GeometryStep,
        steps: Sequence[LayerStep],
        plain: Callable[..., Tensor],
    ) -> None:
        self.geometry, self.steps, self.plain = geometry, steps, plain
        self.weights = [*geometry.weights, *(weight for step in steps for weight in step.weights)]
        # Of the energy's derivative: by the scalars, and the loss's by it.
        self.g: Tensor | None = None
        self.direction: Tensor | None = None

    def __call__(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Return the scalars of the last layer [N, 1, channels]."""
        scalars, _ = _Scalars.apply(self, x, vectors, *self.weights)  # type: ignore[no-untyped-call]
        return scalars

    def values(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Return the scalars of the last layer."""
        basis, harmonics = self.geometry.values(vectors)
        y: Features = (x,)
        for step in self.steps:
            y = step.values(y, basis, harmonics)
        return y[0]

    def reverse(self, g: Tensor) -> Tensor:
        """Return the energy's derivative by the vectors."""
        self.g = g
        back: Features = (g,)
        back, by_basis, by_harmonics = self.steps[-1].reverse(back)
        for step in self.steps[-2::-1]:
            back, basis, harmonics = step.reverse(back)
            by_basis, by_harmonics = by_basis.add_(basis), by_harmonics.add_(harmonics)
        return self.geometry.reverse(by_basis, by_harmonics)

    def tangent(self, changes: Tensor) -> Tensor:
        """Return how the scalars change with the vectors."""
        self.direction = changes
        d_basis, d_harmonics = self.geometry.tangent(changes)
        dx: Sequence[Tensor | None] = (None,)  # the embedding stays
        for step in self.steps:
            dx = step.tangent(dx, d_basis, d_harmonics)
        assert dx[0] is not None
        return dx[0]

    def gradient(self, g: Tensor) -> tuple[Any, ...]:
        """Return the loss's derivatives by embedding, no vectors, and weights."""
        self.direction = None
        back: Features = (g,)
        back, by_basis = self.steps[-1].gradient(back)
        for step in self.steps[-2::-1]:
            back, basis = step.gradient(back)
            by_basis = by_basis.add_(basis)
        self.geometry.gradient(by_basis)
        by_weights = (found for step in self.steps for found in step.by_weights)
        return back[0], None, *self.geometry.by_weights, *by_weights

    def plain_gradient(self, args: Sequence[Tensor], g: Tensor) -> tuple[Any, ...]:
        """Return the same by all inputs, by autograd."""
        with torch.enable_grad():
            inputs = [part.detach().requires_grad_() for part in args]
            outputs, given = [self.plain(*inputs)], [g]
            if self.g is not None and self.direction is not None:
                outputs += torch.autograd.grad(outputs, inputs[1], self.g, create_graph=True)
                given.append(self.direction)
            return torch.autograd.grad(outputs, inputs, given)


class _Scalars(torch.autograd.Function):
    """The layers."""

    @staticmethod
    def forward(ctx: Any, layers: Layers, *args: Tensor) -> tuple[Tensor, Tensor]:
        ctx.layers = layers
        handle = args[0].new_zeros(())
        ctx.save_for_backward(*args, handle)
        return layers.values(args[0], args[1].contiguous()), handle

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Any, ...]:
        (*args, handle), need = ctx.saved_tensors, needed_inputs(ctx)
        layers, g = ctx.layers, g.contiguous()
        if not torch.is_grad_enabled():
            # Second derivatives by the positions are those of Hessians.
            return None, *(layers.plain_gradient(args, g) if need[1] else layers.gradient(g))
        if any((need[0], *need[2:])) or layers.g is not None:
            wanted = [part for part, needed in zip(args, need, strict=True) if needed]
            found = iter(torch.autograd.grad(layers.plain(*args), wanted, g, create_graph=True))
            return None, *(next(found) if needed else None for needed in need)
        by_vectors = _Forces.apply(layers, g, handle, *args)  # type: ignore[no-untyped-call]
        return None, None, by_vectors, *(None for _ in layers.weights)


class _Forces(torch.autograd.Function):
    """The derivative by the vectors."""

    @staticmethod
    def forward(ctx: Any, layers: Layers, g: Tensor, _: Tensor, *args: Tensor) -> Tensor:
        ctx.layers = layers
        ctx.save_for_backward(g, *args)
        return layers.reverse(g)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
        layers, (g, *args) = ctx.layers, ctx.saved_tensors
        if not torch.is_grad_enabled():
            changes = layers.tangent(direction.contiguous())
            return None, changes, changes.new_zeros(()), *(None for _ in args)
        first = torch.autograd.grad(layers.plain(*args), args[1], g, create_graph=True)
        wanted = [part for part in (g, *args) if part.requires_grad]
        found = iter(
            torch.autograd.grad(first, wanted, direction, create_graph=True, allow_unused=True)
        )
        by_g, *by_args = (next(found) if part.requires_grad else None for part in (g, *args))
        return None, by_g, None, *by_args
