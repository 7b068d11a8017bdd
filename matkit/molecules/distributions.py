"""Bond lengths, angles and torsions by type, and how far two sets of molecules are apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matkit.evaluate.scores import Score, halves, wasserstein

# Values by type of a bond, an angle or a torsion, such as ``C-C=O``.
ByType = Mapping[str, Sequence[float]]
UNITS = {"bond lengths": "Å", "angles": "°", "torsions": "°"}
PROTOCOL = (
    "mean Wasserstein distance in {unit} over types such as {example}, weighted by how often the "
    "reference has them{more}"
)
EXAMPLES = {"bond lengths": "C=O", "angles": "C-C=O", "torsions": "H-C-C=O"}
SIGNS = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}


def internal_coordinates(molecules: Sequence[Any]) -> dict[str, ByType]:
    """Return bond lengths, angles and torsions (without their sign) of RDKit's molecules."""
    found: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in UNITS}
    for molecule in molecules:
        places = np.array(molecule.GetConformer().GetPositions())
        for kind, chains in _chains(molecule).items():
            for chain in chains:
                found[kind][_type(molecule, chain)].append(_value(places[list(chain)]))
    return {kind: dict(values) for kind, values in found.items()}


def _chains(molecule: Any) -> dict[str, Sequence[tuple[int, ...]]]:
    """Return the atoms of every bond, angle and torsion, each once."""
    near = [[n.GetIdx() for n in atom.GetNeighbors()] for atom in molecule.GetAtoms()]
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    angles = [
        (i, centre, k)
        for centre, ends in enumerate(near)
        for a, i in enumerate(ends)
        for k in ends[a + 1 :]
    ]
    torsions = [
        (i, j, k, m) for j, k in bonds for i in near[j] for m in near[k] if len({i, j, k, m}) == 4
    ]
    return {"bond lengths": bonds, "angles": angles, "torsions": torsions}


def _type(molecule: Any, chain: Sequence[int]) -> str:
    """Return elements and orders along a chain, the same from either end."""
    words = [molecule.GetAtomWithIdx(chain[0]).GetSymbol()]
    for i, j in pairwise(chain):
        order = molecule.GetBondBetweenAtoms(i, j).GetBondTypeAsDouble()
        words += [SIGNS[order], molecule.GetAtomWithIdx(j).GetSymbol()]
    return "".join(min(words, words[::-1]))


def _value(places: NDArray[np.floating[Any]]) -> float:
    """Return a length in Å, or an angle or a torsion from 0 to 180°."""
    steps = np.diff(places, axis=0)
    if len(steps) == 1:
        return float(np.linalg.norm(steps[0]))
    if len(steps) == 2:
        return _angle(-steps[0], steps[1])
    return _angle(np.cross(steps[0], steps[1]), np.cross(steps[1], steps[2]))


def _angle(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


def geometry_scores(
    molecules: Sequence[Any], reference: Sequence[Any], rng: np.random.Generator
) -> list[Score]:
    """Return how far the internal coordinates of two sets are apart.

    Args:
        molecules: Valid ones, as RDKit has them.
        reference: True ones.
        rng: For the halves of the reference that are compared for scale.
    """
    mine, theirs = internal_coordinates(molecules), internal_coordinates(reference)
    one, other = (internal_coordinates(half) for half in halves(reference, rng))
    scores = []
    for kind, unit in UNITS.items():
        value, covered = weighted_distance(mine[kind], theirs[kind])
        floor, _ = weighted_distance(one[kind], other[kind])
        more = f"; {100 * (1 - covered):.1f} % of the reference is of types that nothing drawn has"
        text = PROTOCOL.format(unit=unit, example=EXAMPLES[kind], more=more)
        of = f"{_count(mine[kind])} and {_count(theirs[kind])} of the reference"
        scores.append(Score(f"W {kind}", value, of, text, floor, "random halves"))
    return scores


def weighted_distance(values: ByType, reference: ByType) -> tuple[float | None, float]:
    """Return the mean distance over the types that both have, and their share of the reference."""
    weights = {kind: len(found) for kind, found in reference.items() if kind in values}
    total = sum(weights.values())
    if not total:
        return None, 0.0
    apart = (w * (wasserstein(values[k], reference[k]) or 0.0) for k, w in weights.items())
    return sum(apart) / total, total / _count(reference)


def _count(values: ByType) -> int:
    return sum(map(len, values.values()))
