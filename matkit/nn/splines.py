"""Compact splines of the edge length."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CosineSplines(nn.Module):
    """Bumps ``b_k(r) = ((1 - cos(2π (r - a_k) / w)) / 2)²`` on [a_k, a_k + w], zero elsewhere.

    The width w spans several of the uniformly spaced beginnings a_k; the last bump ends at the
    cutoff (Allegro; Musaelian et al. 2023, Nat. Commun. 14, 579, and its later versions). Three
    derivatives are continuous everywhere, so no other cutoff function is needed.

    Args:
        cutoff: Where the last bump ends, Å.
        size: Number of bumps.
        span: Bumps that begin within the width of one.
    """

    begin: Tensor

    def __init__(self, cutoff: float, size: int = 16, span: int = 12) -> None:
        super().__init__()
        spacing = cutoff / size
        self.width = (span + 1) * spacing
        begin = (torch.arange(size, dtype=torch.float64) - span) * spacing
        self.register_buffer("begin", begin, persistent=False)

    def forward(self, lengths: Float[Tensor, " E"]) -> Float[Tensor, "E basis"]:
        """Return the basis [E, size] in the precision of `lengths` (Å)."""
        place = (lengths.unsqueeze(1) - self.begin.to(lengths.dtype)) / self.width
        # sin⁴ is the same function; outside, the clamped argument makes it and its slope vanish.
        return torch.sin(math.pi * place.clamp(0, 1)).pow(4)
