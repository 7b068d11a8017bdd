"""What a backward pass that is running wants to know."""

from __future__ import annotations

from typing import Any

import torch


def needed_inputs(ctx: Any) -> list[bool]:
    """Return which tensors given to a Function the present backward pass needs derivatives by.

    A pass from the loss to the parameters only, say, needs none by the harmonics, although these
    depend on the positions.
    """
    following = [function for function, _ in ctx.next_functions]
    flags = ctx.needs_input_grad[-len(following) :]  # the first arguments are no tensors
    return [flag and _is_reached(function) for flag, function in zip(flags, following, strict=True)]


def _is_reached(function: Any) -> bool:
    """Return whether the engine, now running, goes on to this function."""
    if function is None:
        return False
    try:
        return torch._C._will_engine_execute_node(function)
    except RuntimeError:  # what it says of a leaf whose derivative was asked for
        return True
