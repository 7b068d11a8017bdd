"""What the layers see of the edges as a step: radial basis and harmonics of the edge vectors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from matkit.nn.harmonics import harmonics, harmonics_gradient, harmonics_tangent


class RadialBasis(NamedTuple):
    """Bessel functions times a polynomial envelope, ``factor sin(k r) / r u(r)``.

    Attributes:
        frequencies: Numbers k [basis].
        factor: What they are multiplied by.
        cutoff: Where the envelope ends, Å.
        power: Its power, see `polynomial_envelope`.
    """

    frequencies: Tensor
    factor: float
    cutoff: float
    power: int


class GeometryStep:
    """Radial basis [E, basis] and harmonics [E, (lmax + 1)²] in the network's type.

    Positions are not trained, so `gradient` ends at the frequencies of the basis.

    Args:
        basis: Radial basis.
        lmax: Highest degree of the harmonics.
    """

    def __init__(self, basis: RadialBasis, lmax: int) -> None:
        self.basis, self.lmax, self.dtype = basis, lmax, basis.frequencies.dtype
        self.weights, self.by_weights = (basis.frequencies,), list[Tensor]()
        self.lengths_moved: Tensor | None = None

    def values(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return radial basis and harmonics of edge vectors [E, 3]."""
        self.vectors = vectors
        lengths, found = harmonics(vectors, self.lmax, self.dtype)
        self.k = self.basis.frequencies.double()
        # Where atoms coincide all is finite, and the next steps are NaN if anything is.
        self.inverse = lengths.clamp(min=1e-6).reciprocal_().unsqueeze(1)
        kr = lengths.unsqueeze(1) * self.k
        self.sine, self.cosine = kr.sin(), kr.cos_()
        envelope, slope = _envelope(lengths / self.basis.cutoff, self.basis.power)
        self.envelope = envelope.mul_(self.basis.factor).unsqueeze(1)
        self.slope = slope.mul_(self.basis.factor / self.basis.cutoff).unsqueeze(1)
        return (self.sine * (self.envelope * self.inverse)).to(self.dtype), found

    def reverse(self, by_basis: Tensor, by_harmonics: Tensor) -> Tensor:
        """Return the energy's derivative by the vectors."""
        self.g = by_basis.double()
        self.by_length = self._by_length()
        by_lengths = (self.g * self.by_length).sum(dim=1)
        return harmonics_gradient(self.vectors, by_lengths, by_harmonics)

    def tangent(self, changes: Tensor) -> tuple[Tensor, Tensor]:
        """Return how basis and harmonics change with the vectors."""
        moved, d_harmonics = harmonics_tangent(self.vectors, changes, self.lmax, self.dtype)
        self.lengths_moved = moved.unsqueeze(1)
        return (self.by_length * self.lengths_moved).to(self.dtype), d_harmonics

    def gradient(self, by_basis: Tensor) -> None:
        """Take the loss's derivative by the basis on to the frequencies."""
        by_k = by_basis.double().mul_(self.cosine * self.envelope)
        if self.lengths_moved is not None:
            both = self.cosine * self.slope - self.sine * self.k * self.envelope
            by_k.add_(both.mul_(self.g).mul_(self.lengths_moved))
            self.lengths_moved = None
        self.by_weights = [by_k.sum(dim=0).to(self.dtype)]

    def _by_length(self) -> Tensor:
        """Return the derivative of the basis by the length [E, basis]."""
        of_sine = (self.slope - self.envelope * self.inverse) * self.inverse
        return (self.cosine * self.k).mul_(self.envelope * self.inverse).add_(self.sine * of_sine)


def _envelope(x: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Return the polynomial envelope of parts x of the cutoff [E], and its derivative by x."""
    inside = x < 1
    below = x ** (p - 1)
    a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
    value = 1 + below * x * (x * (b - c * x) - a)
    slope = below * (1 - x).square_() * (-a * p)
    return value.mul_(inside), slope.mul_(inside)
