"""Irreducible representations of O(3): names, Wigner 3j symbols, spherical harmonics.

The basis, the signs and the normalisation are e3nn's (Geiger and Smidt 2022,
https://arxiv.org/abs/2207.09453), so that its checkpoints can be read; the tests compare with
e3nn itself. It is written anew because importing e3nn takes a second.
"""

from __future__ import annotations

import re
from functools import cache
from math import factorial, sqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError


class Irrep(NamedTuple):
    """`channels` copies of the irrep of degree `l` and parity `p` (1 even, -1 odd)."""

    channels: int
    l: int  # noqa: E741 the field's standard name
    p: int

    @property
    def dim(self) -> int:
        """Components 2l + 1 of one copy."""
        return 2 * self.l + 1

    @property
    def kind(self) -> tuple[int, int]:
        """Degree and parity."""
        return self.l, self.p

    def __str__(self) -> str:
        """Return the usual notation, e.g. ``64x1o``."""
        return f"{self.channels}x{self.l}{'e' if self.p == 1 else 'o'}"


Irreps = tuple[Irrep, ...]


def parse_irreps(text: str) -> Irreps:
    """Read the usual notation, e.g. ``"128x0e+64x1o"``; every irrep at most once.

    Raises:
        ConfigError: the text is not of that form, or names an irrep twice.
    """
    irreps = []
    for term in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(\d+)x(\d+)([eo])", term)
        if match is None:
            raise ConfigError(f"Expected irreps such as '128x0e+64x1o', got {text!r}.")
        irreps.append(Irrep(int(match[1]), int(match[2]), 1 if match[3] == "e" else -1))
    if len({irrep.kind for irrep in irreps}) != len(irreps):
        raise ConfigError(f"Each irrep may appear once, got {text!r}; add up its channels.")
    return tuple(irreps)


def format_irreps(irreps: Irreps) -> str:
    """Return the usual notation of `irreps`."""
    return "+".join(map(str, irreps))


def sort_irreps(irreps: Irreps) -> Irreps:
    """Sort by degree, odd before even, as e3nn does."""
    return tuple(sorted(irreps, key=lambda irrep: irrep.kind))


@cache
def wigner_3j(l1: int, l2: int, l3: int) -> Float[Tensor, "a b c"]:
    """Return the real Wigner 3j symbol [2 l1 + 1, 2 l2 + 1, 2 l3 + 1], unit norm, float64.

    The invariant of l1 ⊗ l2 ⊗ l3, from the complex Clebsch-Gordan coefficients (Racah's
    formula) and the change to real harmonics.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ConfigError(f"Degrees {l1}, {l2}, {l3} break the triangle rule.")
    q1, q2, q3 = _real_to_complex(l1), _real_to_complex(l2), _real_to_complex(l3)
    complex_cg = _clebsch_gordan(l1, l2, l3).to(torch.complex128)
    real = torch.einsum("ij,kl,nm,ikn->jlm", q1, q2, q3.conj(), complex_cg).real
    return real / real.norm()


def _clebsch_gordan(l1: int, l2: int, l3: int) -> Tensor:
    table = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.float64)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                table[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah((l1, l2, l3), m1, m2)
    return table


def _racah(degrees: tuple[int, int, int], m1: int, m2: int) -> float:
    """Return the Clebsch-Gordan coefficient <l1 m1 l2 m2 | l3 m1+m2> (Racah 1942, eq. 16)."""
    l1, l2, l3 = degrees
    m3 = m1 + m2
    f = factorial
    total = 0.0
    for k in range(l1 + l2 - l3 + 1):
        terms = (k, l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        if min(terms) >= 0:
            denominator = 1
            for term in terms:
                denominator *= f(term)
            total += (-1) ** k / denominator
    triangle = f(l3 + l1 - l2) * f(l3 - l1 + l2) * f(l1 + l2 - l3) / f(l1 + l2 + l3 + 1)
    states = f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2) * f(l3 - m3) * f(l3 + m3)
    return sqrt((2 * l3 + 1) * triangle * states) * total


def _real_to_complex(degree: int) -> Tensor:
    """Return the unitary matrix [m complex, m real] with the phase that makes 3j symbols real."""
    matrix: Any = torch.zeros(2 * degree + 1, 2 * degree + 1, dtype=torch.complex128)
    matrix[degree, degree] = 1
    for m in range(1, degree + 1):
        cosine, sine = degree + m, degree - m
        matrix[degree - m, cosine] = 1 / sqrt(2)
        matrix[degree - m, sine] = -1j / sqrt(2)
        matrix[degree + m, cosine] = (-1) ** m / sqrt(2)
        matrix[degree + m, sine] = 1j * (-1) ** m / sqrt(2)
    return (-1j) ** degree * matrix


def spherical_harmonics(lmax: int, directions: Float[Tensor, "E 3"]) -> Float[Tensor, "E K"]:
    """Return real spherical harmonics of unit vectors [E, (lmax + 1)²].

    "Component" normalisation, |Y_l|² = 2l + 1; Y_1 = √3 (x, y, z). Each degree follows from the
    one below by Y_l ∝ Y_{l-1} ⊗ Y_1, so any order of derivative is available.
    """
    harmonics = [torch.ones_like(directions[:, :1])]
    for degree in range(1, lmax + 1):
        # A product of matrices: an `einsum` of three operands looks for their order every time.
        products = (harmonics[-1].unsqueeze(2) * directions.unsqueeze(1)).flatten(1)
        harmonics.append(products @ _ladder(degree).to(directions).flatten(0, 1))
    return torch.cat(harmonics, dim=1)


@cache
def _ladder(degree: int) -> Tensor:
    """Return T with Y_l = T (Y_{l-1} ⊗ direction), signed so that Y_l0 > 0 on the y axis."""
    symbol = wigner_3j(degree - 1, 1, degree)
    # On the axis only the middle component of every degree is not zero: it is √(2l + 1).
    on_axis = sqrt(2 * degree - 1) * symbol[degree - 1, 1, degree]
    return symbol * (sqrt(2 * degree + 1) / on_axis)
