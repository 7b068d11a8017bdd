"""Bands, density of states and thermal properties from force constants."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from matkit.phonons.options import PhononsOptions
from matkit.phonons.path import Segment, band_path
from matkit.phonons.results import Bands, DensityOfStates, ImaginaryMode, ThermalProperties

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.phonon.mesh import Mesh

KJ_PER_MOLE = float(units.kJ / units.mol)  # eV


def band_structure(phonopy: Phonopy, points: int) -> Bands:
    """Return frequencies along the path between special points.

    Args:
        phonopy: With force constants.
        points: Points on the longest line.
    """
    segments = band_path(phonopy.primitive, points)
    joined = [a.end == b.start for a, b in pairwise(segments)]
    found = phonopy.run_band_structure(
        [segment.qpoints for segment in segments],
        path_connections=[*joined, False],
        labels=_labels(segments),
    )
    return Bands(segments, list(found.distances), list(found.frequencies))


def _labels(segments: list[Segment]) -> list[str]:
    """Return names in phonopy's form: one where two lines meet, two where the path jumps."""
    names = []
    for i, segment in enumerate(segments):
        names.append(segment.start)
        if i + 1 == len(segments) or segment.end != segments[i + 1].start:
            names.append(segment.end)
    return names


def density_of_states(phonopy: Phonopy) -> DensityOfStates:
    """Return the density of states on phonopy's present mesh, by the tetrahedron method."""
    found = phonopy.run_total_dos()
    return DensityOfStates(np.asarray(found.frequency_points), np.asarray(found.dos))


def thermal_properties(phonopy: Phonopy, options: PhononsOptions) -> ThermalProperties:
    """Return thermal properties on the present mesh; translations count nothing."""
    found = phonopy.run_thermal_properties(
        t_min=0,
        t_max=options.max_temperature,
        t_step=options.temperature_step,
        exclude_gamma_acoustic=True,
    )
    return ThermalProperties(
        temperatures=np.asarray(found.temperatures),
        free_energy=np.asarray(found.free_energy) * KJ_PER_MOLE,
        entropy=np.asarray(found.entropy) * KJ_PER_MOLE / 1000,
        heat_capacity=np.asarray(found.heat_capacity) * KJ_PER_MOLE / 1000,
    )


def imaginary_modes(mesh: Mesh, bands: Bands, tolerance: float) -> list[ImaginaryMode]:
    """Return all q-points of path and mesh with a frequency below ``-tolerance`` THz.

    Args:
        mesh: Frequencies on a mesh.
        bands: Band structure.
        tolerance: THz.
    """
    modes: dict[tuple[float, float, float], ImaginaryMode] = {}
    for q, name, frequency in _lowest(mesh, bands):
        key = (round(float(q[0]), 9), round(float(q[1]), 9), round(float(q[2]), 9))
        if frequency < -tolerance and not (key in modes and modes[key].name):
            modes[key] = ImaginaryMode(key, name, frequency)
    return sorted(modes.values(), key=lambda mode: (mode.frequency, not mode.name))


def _lowest(mesh: Mesh, bands: Bands) -> list[tuple[np.ndarray, str, float]]:
    """Return q-points, their names and lowest frequencies, THz."""
    points: list[tuple[np.ndarray, str, float]] = []
    for segment, frequencies in zip(bands.segments, bands.frequencies, strict=True):
        names = [segment.start, *[""] * (len(segment.qpoints) - 2), segment.end]
        points += zip(segment.qpoints, names, frequencies.min(axis=1).tolist(), strict=True)
    lowest = np.asarray(mesh.frequencies).min(axis=1).tolist()
    return points + [(q, "", value) for q, value in zip(mesh.qpoints, lowest, strict=True)]
