"""The straight flow of unbounded fields (Lipman et al., ICLR 2023), without width at the end."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def straight_path(
    start: Float[Tensor, "B *any"], end: Float[Tensor, "B *any"], time: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B *any"], Float[Tensor, "B *any"]]:
    """Return the point at `time` between start and end, and its velocity."""
    velocity = end - start
    return start + time.view(-1, *[1] * (start.dim() - 1)) * velocity, velocity
