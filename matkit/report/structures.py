"""Structures as data for the viewer in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

# What is larger is not drawn: the viewer looks at all pairs of atoms, and a crystal that came apart
# would be a few dots in a long box.
MOST_ATOMS, LONGEST = 1500, 100.0
# Atoms this near to a face of the cell, in fractions, are repeated on the opposite one.
NEAR_FACE = 0.01

Scene = dict[str, Any]


def scene(frames: Sequence[Atoms], titles: Sequence[str]) -> Scene:
    """Return what the viewer shows: one structure, or several behind a slider.

    Args:
        frames: At least one structure.
        titles: What is written below each of them.

    Returns:
        `elements` (symbol, colour, covalent radius in Å), and for each of the `frames` its `title`,
        `atoms` (number in `elements`, and coordinates in Å) and `cell` (its origin and three
        vectors; empty without one). Or the reason why it was `skipped`.
    """
    if reason := _too_much(frames):
        return {"title": titles[0], "skipped": reason}
    if len(frames) == 1 and frames[0].pbc.all() and frames[0].cell.rank == 3:
        frames = [_filled(frames[0])]  # not along a path, where atoms would jump
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    place = {z: i for i, z in enumerate(numbers)}
    centre, axes = _centre(frames[0]), _axes(frames[0])
    parts = zip(frames, titles, strict=True)
    return {
        "title": titles[0],
        "elements": [_element(z) for z in numbers],
        "frames": [
            {"title": title, **_frame(atoms, place, centre, axes)} for atoms, title in parts
        ],
    }


def _too_much(frames: Sequence[Atoms]) -> str:
    """Return why structures cannot be drawn, or nothing."""
    count = max(len(atoms) for atoms in frames)
    if count > MOST_ATOMS:
        return f"{count} atoms"
    longest = max(_length(atoms) for atoms in frames)
    if not longest <= LONGEST:  # true for what is not a number, too
        return f"{longest:.3g} Å long"
    return ""


def _length(atoms: Atoms) -> float:
    """Return how long the cell is, or what is there without one; no number if a place is none."""
    if not np.isfinite(atoms.positions).all():
        return float("nan")
    edges = atoms.cell.lengths() if atoms.cell.rank == 3 else np.ptp(atoms.positions, axis=0)
    return float(np.max(edges))


def _element(z: int) -> tuple[str, str, float]:
    red, green, blue = (round(255 * part) for part in jmol_colors[min(z, len(jmol_colors) - 1)])
    return chemical_symbols[z], f"#{red:02x}{green:02x}{blue:02x}", round(covalent_radii[z], 2)


def _centre(atoms: Atoms) -> np.ndarray:
    """Return the point that everything turns about: the middle of the cell or of the atoms."""
    middle: np.ndarray = (
        atoms.cell.sum(axis=0) / 2 if atoms.cell.rank == 3 else atoms.positions.mean(axis=0)
    )
    return middle


def _axes(atoms: Atoms) -> np.ndarray:
    """Return columns to see atoms along: of a molecule the longest across, the shortest in depth.

    A cell is left as it is.
    """
    if atoms.cell.rank == 3 or len(atoms) < 2:
        return np.eye(3)
    axes = np.linalg.svd(atoms.positions - atoms.positions.mean(axis=0))[2].T
    return axes * np.array([1, 1, np.sign(np.linalg.det(axes))])


def _frame(atoms: Atoms, place: Mapping[int, int], centre: np.ndarray, axes: np.ndarray) -> Scene:
    """Return atoms with coordinates from the centre, and the cell with its origin."""
    places = np.round((atoms.positions - centre) @ axes, 3).tolist()
    has_cell = atoms.cell.rank == 3
    return {
        "atoms": [[place[int(z)], *xyz] for z, xyz in zip(atoms.numbers, places, strict=True)],
        "cell": np.round([-centre, *atoms.cell], 3).tolist() if has_cell else [],
    }


def _filled(atoms: Atoms) -> Atoms:
    """Return a crystal inside its cell, with atoms on a face on the opposite one too."""
    fractions = atoms.get_scaled_positions(wrap=True)
    fractions[fractions > 1 - NEAR_FACE] -= 1
    pairs = [
        (z, place + shift)
        for z, place in zip(atoms.numbers, fractions, strict=True)
        for shift in product((0, 1), repeat=3)
        if (place + shift < 1 + NEAR_FACE).all()
    ]
    numbers, places = zip(*pairs, strict=True)
    return Atoms(numbers, scaled_positions=np.array(places), cell=atoms.cell)
