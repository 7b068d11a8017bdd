"""Correlations over all origins of time, by Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

# Numbers of a piece of a trajectory that is transformed at once.
LARGEST = 1 << 22


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """Return ``<x(0)·x(t)>`` over all origins [T, N] of vectors [T, N, 3] (Wiener and Khinchin)."""
    count = len(values)
    spectrum = np.fft.rfft(values, n=2 * count, axis=0)
    sums = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:count].sum(axis=2)
    return sums / np.arange(count, 0, -1)[:, None]


def mean_square_displacement(positions: np.ndarray) -> np.ndarray:
    """Return ``<|r(t) - r(0)|²>`` over all origins [T, N] of positions [T, N, 3].

    ``<r(0)² + r(t)²> - 2 <r(0)·r(t)>``, Calandrini et al. 2011,
    https://doi.org/10.1051/sfn/201112010.
    """
    # Large positions would leave few digits to the difference.
    positions = positions - positions.mean(axis=0)
    squares = np.cumsum((positions**2).sum(axis=2), axis=0)
    count, before = len(positions), np.zeros_like(squares)
    before[1:] = squares[:-1]
    sums = squares[::-1] + squares[-1] - before
    return sums / np.arange(count, 0, -1)[:, None] - 2 * autocorrelation(positions)


def by_element(
    values: np.ndarray,
    numbers: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray,
) -> dict[int, np.ndarray]:
    """Return the weighted sum over the atoms of each element of what a function gives [T].

    Args:
        values: Vectors [T, N, 3], perhaps in a file.
        numbers: Atomic numbers [N].
        function: From [T, n, 3] to [T, n].
        weights: Weights of the atoms [N].
    """
    found = {int(z): np.zeros(len(values)) for z in np.unique(numbers)}
    for atoms in _pieces(len(numbers), len(values)):
        result = function(np.asarray(values[:, atoms], dtype=float)) * weights[atoms]
        for z, total in found.items():
            total += result[:, numbers[atoms] == z].sum(axis=1)
    return found


def _pieces(n_atoms: int, n_frames: int) -> Iterator[slice]:
    size = max(1, LARGEST // (3 * n_frames))
    yield from (slice(start, start + size) for start in range(0, n_atoms, size))
