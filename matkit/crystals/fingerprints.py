"""Fingerprints of compositions and structures by which the coverage of CDVAE is measured."""

from __future__ import annotations

import csv
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.elements import SYMBOLS

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAGPIE, SCALE = "magpie.csv", "magpie_scale.csv"
# Largest coordination number of a structure fingerprint.
MOST_NEIGHBORS = 24
# Motifs whose order parameters are measured, by coordination number (Zimmermann and Jain 2020,
# doi:10.1039/C9RA07755C), named as in pymatgen.
MOTIFS: Mapping[int, Sequence[str]] = {
    1: ("sgl_bd",),
    2: ("L-shaped", "water-like", "bent 120 degrees", "bent 150 degrees", "linear"),
    3: ("trigonal planar", "trigonal non-coplanar", "T-shaped"),
    4: (
        "square co-planar",
        "tetrahedral",
        "rectangular see-saw-like",
        "see-saw-like",
        "trigonal pyramidal",
    ),
    5: ("pentagonal planar", "square pyramidal", "trigonal bipyramidal"),
    6: ("hexagonal planar", "octahedral", "pentagonal pyramidal"),
    7: ("hexagonal pyramidal", "pentagonal bipyramidal"),
    8: ("body-centered cubic", "hexagonal bipyramidal"),
    9: ("q2", "q4", "q6"),
    10: ("q2", "q4", "q6"),
    11: ("q2", "q4", "q6"),
    12: ("cuboctahedral", "q2", "q4", "q6"),
}


def composition_fingerprint(numbers: Iterable[int]) -> np.ndarray:
    """Return Magpie's statistics of 22 properties of the elements, [132], scaled as in CDVAE.

    For each property the smallest and largest value, their difference, mean, mean absolute
    deviation and the value of the most frequent element (the smallest of several), weighted by
    the fractions of atoms. What is unknown becomes 0 after scaling.

    Args:
        numbers: Atomic numbers of the atoms.

    Source: Ward et al. 2016, doi:10.1038/npjcompumats.2016.28.
    """
    counts = Counter(numbers)
    table = _properties()
    values = np.array([table[SYMBOLS[z]] for z in counts])
    weights = np.array([*counts.values()], dtype=float)
    mean = weights @ values / weights.sum()
    deviation = weights @ np.abs(values - mean) / weights.sum()
    low, high = values.min(0), values.max(0)
    mode = values[weights == weights.max()].min(0)
    statistics = np.stack([low, high, high - low, mean, deviation, mode], axis=1).ravel()
    center, width = _scale()
    return np.nan_to_num((statistics - center) / width, nan=0.0)


def structure_fingerprint(structure: Structure) -> np.ndarray:
    """Return the mean over the sites of weights and order parameters of coordinations, [61].

    Source: Zimmermann and Jain 2020, doi:10.1039/C9RA07755C: CrystalNNFingerprint("ops") of
        matminer, which itself asks for a pandas that does not go with ours.
    """
    from pymatgen.core.local_env import CrystalNN

    finder = CrystalNN()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sites without oxidation states
        found = [finder.get_nn_data(structure, i) for i in range(len(structure))]
    return np.mean([_site(structure, i, one) for i, one in enumerate(found)], axis=0)


def _site(structure: Structure, i: int, found: Any) -> list[float]:
    """Return the fingerprint of one site from its coordinations and their weights."""
    fingerprint: list[float] = []
    for number in range(1, MOST_NEIGHBORS + 1):
        weight = float(found.cn_weights.get(number, 0.0))
        fingerprint.append(weight)
        motifs = _order_parameters().get(number, ())
        if weight == 0:
            fingerprint += [0.0] * len(motifs)
            continue
        sites = [structure[i], *(item["site"] for item in found.cn_nninfo[number])]
        indices = list(range(1, len(sites)))
        for motif in motifs:
            value = motif.get_order_parameters(sites, 0, indices_neighs=indices)[0]
            fingerprint.append(weight * (value or 0.0))  # None where it is not defined
    return fingerprint


@cache
def _order_parameters() -> Mapping[int, Sequence[Any]]:
    return {
        number: [_order_parameter(number, name) for name in names]
        for number, names in MOTIFS.items()
    }


def _order_parameter(number: int, name: str) -> Any:
    from pymatgen.core.local_env import CN_OPT_PARAMS, LocalStructOrderParams

    known = CN_OPT_PARAMS.get(number, {}).get(name, [name])
    parameters = known[1] if len(known) > 1 else None
    return LocalStructOrderParams([known[0]], parameters=[parameters])


@cache
def _properties() -> Mapping[str, list[float]]:
    return {
        row.pop("symbol"): [float(value) if value else math.nan for value in row.values()]
        for row in _rows(MAGPIE)
    }


@cache
def _scale() -> tuple[np.ndarray, np.ndarray]:
    rows = np.array([[float(row["mean"]), float(row["std"])] for row in _rows(SCALE)])
    return rows[:, 0], rows[:, 1]


def _rows(name: str) -> list[dict[str, str]]:
    text = files("matkit.crystals").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
