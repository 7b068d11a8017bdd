"""Mean square displacements and coefficients of diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from matkit.analysis.correlations import by_element, mean_square_displacement
from matkit.analysis.options import TrajectoryOptions
from matkit.elements import SYMBOLS
from matkit.errors import SimulationError

# Points that a line is fitted to, at least, and the part of a block that they are taken from.
FEWEST = 3
WINDOW = (0.1, 0.5)
ALL = "all"


@dataclass(frozen=True)
class Diffusion:
    """Mean square displacements over all origins of time, and what follows from them.

    Attributes:
        times: Times [L], ps.
        displacements: Mean square displacement [L] of `all` atoms and of each element, Å².
        coefficients: A sixth of its slope in the window, Å²/ps (1e-4 cm²/s).
        errors: Standard errors of the coefficients from the slopes of the blocks, Å²/ps.
        exponents: Slope of the logarithm over the logarithm of time in the window: 1 of diffusion,
            2 of free flight, 0 of atoms that stay at their place.
        window: Begin and end of the fit, ps.
        blocks: Number of blocks.
    """

    times: np.ndarray
    displacements: Mapping[str, np.ndarray]
    coefficients: Mapping[str, float]
    errors: Mapping[str, float]
    exponents: Mapping[str, float]
    window: tuple[float, float]
    blocks: int


def diffusion(
    positions: np.ndarray, numbers: np.ndarray, interval: float, options: TrajectoryOptions
) -> Diffusion:
    """Return the diffusion by Einstein's relation ``<|r(t) - r(0)|²> = 6 D t``.

    The slope is that of a straight line through the displacements of the whole trajectory; its
    error is the standard error of the slopes of the blocks.

    Args:
        positions: Unwrapped positions [T, N, 3], Å.
        numbers: Atomic numbers [N].
        interval: Time between two frames, fs.
        options: Window and blocks.

    Raises:
        SimulationError: the trajectory is too short for the window.
    """
    length = len(positions) // options.blocks
    lags = _window(length, interval, options)
    times = np.arange(length) * interval / 1000
    whole = {key: values[:length] for key, values in _displacements(positions, numbers).items()}
    starts = range(0, length * options.blocks, length)
    parts = [_displacements(positions[start : start + length], numbers) for start in starts]
    slopes = {key: [_slope(times, part[key], lags) for part in parts] for key in whole}
    return Diffusion(
        times=times,
        displacements=whole,
        coefficients={key: _slope(times, values, lags) / 6 for key, values in whole.items()},
        errors={
            key: float(np.std(values, ddof=1)) / 6 / options.blocks**0.5
            for key, values in slopes.items()
        },
        exponents={key: _exponent(times, values, lags) for key, values in whole.items()},
        window=(float(times[lags][0]), float(times[lags][-1])),
        blocks=options.blocks,
    )


def _window(length: int, interval: float, options: TrajectoryOptions) -> slice:
    """Return the lags that the line goes through."""
    picoseconds = interval / 1000
    start = WINDOW[0] * length if options.fit_start is None else options.fit_start / picoseconds
    end = WINDOW[1] * length if options.fit_end is None else options.fit_end / picoseconds
    first, last = max(1, int(np.ceil(start - 1e-9))), int(end + 1e-9)
    if last >= length or last - first + 1 < FEWEST:
        raise SimulationError(
            f"The trajectory is too short for diffusion: {options.blocks} blocks of {length} "
            f"frames ({length * picoseconds:.4g} ps) and a fit from {first * picoseconds:.4g} to "
            f"{last * picoseconds:.4g} ps, which must hold {FEWEST} frames and end before the "
            "block. Run longer, take fewer blocks, or choose fit_start and fit_end."
        )
    return slice(first, last + 1)


def _displacements(positions: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    sums = by_element(positions, numbers, mean_square_displacement, np.ones(len(numbers)))
    total = np.sum(list(sums.values()), axis=0) / len(numbers)
    means = {SYMBOLS[z]: values / np.sum(numbers == z) for z, values in sums.items()}
    return {ALL: total, **means}


def _slope(times: np.ndarray, values: np.ndarray, lags: slice) -> float:
    return float(np.polyfit(times[lags], values[lags], 1)[0])


def _exponent(times: np.ndarray, values: np.ndarray, lags: slice) -> float:
    if (values[lags] <= 0).any():
        return 0.0
    return float(np.polyfit(np.log(times[lags]), np.log(values[lags]), 1)[0])
