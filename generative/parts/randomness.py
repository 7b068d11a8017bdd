"""Random numbers that belong to a crystal, whatever batch it is in.

A number is a hash of the crystal's seed and of the place where it is used (SplitMix64; Steele,
Lea & Flood, OOPSLA 2014). So a crystal comes out the same alone or in a batch, padded or not, and
a batch of six the same as two batches of three.
"""

from __future__ import annotations

from math import pi, prod

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _signed(constant: int) -> int:
    """Return the 64-bit pattern as the signed integer that torch works with."""
    return constant - (1 << 64) if constant >> 63 else constant


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


class Noise:
    """One stream of random numbers per crystal; each call takes the next part of every stream.

    Args:
        seeds: One seed per crystal [B].
    """

    def __init__(self, seeds: Int[Tensor, " B"]) -> None:
        keys = _mix(seeds * GOLDEN)
        # The hash of zero is zero, where the normal distribution is 8.7 deviations out.
        self.keys = torch.where(keys == 0, GOLDEN, keys)
        self.calls = 0

    def uniform(self, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return numbers between 0 and 1, both excluded, [B, *shape] in float64."""
        index = torch.arange(prod(shape), device=self.keys.device)
        # Room for 2^32 numbers a call: what a crystal gets does not depend on the padding.
        counter = (self.calls << 32) + index
        self.calls += 1
        bits = _mix(self.keys.unsqueeze(1) + counter * GOLDEN)
        return (((_shift(bits, 11)).double() + 0.5) * 2.0**-53).view(len(bits), *shape)

    def normal(self, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return numbers of the standard normal distribution [B, *shape] in float64."""
        radius = torch.sqrt(-2 * torch.log(self.uniform(*shape)))
        return radius * torch.cos(2 * pi * self.uniform(*shape))  # Box & Muller (1958)


def noise_for(count: int, rng: torch.Generator, device: torch.device) -> Noise:
    """Return the streams of the next `count` crystals that `rng` is asked for."""
    seeds = [torch.randint(1 << 62, (1,), generator=rng, device=rng.device) for _ in range(count)]
    return Noise(torch.cat(seeds).to(device))


def _shift(bits: Int[Tensor, "*any"], by: int) -> Int[Tensor, "*any"]:
    """Shift to the right, filling with zeros."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Return the finaliser of SplitMix64; products wrap around as they should."""
    bits = (bits ^ _shift(bits, 30)) * FIRST
    bits = (bits ^ _shift(bits, 27)) * SECOND
    return bits ^ _shift(bits, 31)
