"""Correlation of velocities, and the vibrational density of states that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from matkit.analysis.correlations import autocorrelation, by_element
from matkit.elements import SYMBOLS
from matkit.errors import SimulationError

# Light, cm/fs.
SPEED_OF_LIGHT = 2.99792458e-5
# Frames, at least, and how many times as many points the spectrum has as the correlation.
FEWEST = 16
PADDING = 4
ALL = "all"
# Vibrations that a structure is expected to have, 1/cm: with hydrogen, and without.
HIGHEST = (4500.0, 2000.0)


@dataclass(frozen=True)
class VelocityCorrelation:
    """Correlation of velocities, weighted by masses, and its spectrum.

    Attributes:
        times: Times [L], fs, up to half of the trajectory.
        correlation: ``<v(0)·v(t)>`` of `all` atoms and of each element, 1 at the time 0 [L].
        wavenumbers: Wavenumbers [W], 1/cm.
        states: Density of states [W] in cm, whose integral is 1 for `all`; elements add up to it.
        highest: Largest wavenumber that the frames resolve (Nyquist), 1/cm; what vibrates faster is
            folded back.
    """

    times: np.ndarray
    correlation: Mapping[str, np.ndarray]
    wavenumbers: np.ndarray
    states: Mapping[str, np.ndarray]
    highest: float


def velocity_correlation(
    velocities: np.ndarray, numbers: np.ndarray, masses: np.ndarray, interval: float
) -> VelocityCorrelation:
    """Return correlation and spectrum.

    ``S(ν) ∝ Σ_i m_i ∫ <v_i(0)·v_i(t)> cos²(π t / 2 t_max) cos(2π ν t) dt``; the factor that goes to
    zero takes away the ripples of the end.

    Args:
        velocities: Velocities [T, N, 3], in any unit.
        numbers: Atomic numbers [N].
        masses: Masses [N].
        interval: Time between two frames, fs.

    Raises:
        SimulationError: there are too few frames, or nothing moves.
    """
    if len(velocities) < FEWEST:
        raise SimulationError(
            f"Expected at least {FEWEST} frames for a correlation of velocities, got "
            f"{len(velocities)}. Write frames more often (traj_every)."
        )
    length = len(velocities) // 2
    sums = by_element(velocities, numbers, autocorrelation, masses)
    found = {SYMBOLS[z]: values[:length] for z, values in sums.items()}
    found = {ALL: np.sum(list(found.values()), axis=0), **found}
    if not found[ALL][0] > 0:
        raise SimulationError("All velocities are zero: there is no correlation. Run dynamics.")
    spectra = {key: _spectrum(values) for key, values in found.items()}
    wavenumbers = np.fft.rfftfreq(2 * PADDING * length, interval) / SPEED_OF_LIGHT
    area = float(np.trapezoid(spectra[ALL], wavenumbers))
    return VelocityCorrelation(
        times=np.arange(length) * interval,
        correlation={key: v / v[0] if v[0] else v for key, v in found.items()},
        wavenumbers=wavenumbers,
        states={key: values / area for key, values in spectra.items()},
        highest=1 / (2 * interval * SPEED_OF_LIGHT),
    )


def _spectrum(correlation: np.ndarray) -> np.ndarray:
    """Return the cosine transform of a correlation [L] that is made to end smoothly."""
    length = len(correlation)
    smooth = correlation * np.cos(np.pi * np.arange(length) / (2 * length)) ** 2
    padded = np.zeros(2 * PADDING * length)
    padded[:length] = smooth
    padded[-length + 1 :] = smooth[:0:-1]
    spectrum: np.ndarray = np.fft.rfft(padded).real
    return spectrum


def folded_back(found: VelocityCorrelation, numbers: np.ndarray, interval: float) -> str:
    """Return what to say of frames that are too far apart for the vibrations; mostly nothing."""
    if found.highest >= HIGHEST[0 if 1 in numbers else 1]:
        return ""
    return (
        f"frames every {interval:.4g} fs resolve vibrations up to {found.highest:.0f} 1/cm; faster "
        "ones appear at wrong wavenumbers. Write frames more often (traj_every)"
    )
