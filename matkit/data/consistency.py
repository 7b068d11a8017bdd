"""Whether labels are derivatives of the energy, and if not, which unit or sign they seem to have.

Two structures that differ by a small step give a finite difference of the energy. Its ratio to the
work of the labels along the step is 1 if all is well, the same other number everywhere if a unit
is wrong, and negative if a sign is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from matkit.data.dataset import Dataset
from matkit.structures import Structures

# Largest strain and displacement (Å) that count as a small step.
MAX_STRAIN = 0.1
MAX_STEP = 0.3
# Smallest difference of energies that says something, in eV.
MIN_ENERGY = 1e-4
MIN_PAIRS = 3
# Part of the pairs that must agree on the sign, and how far a ratio may be from that of a unit.
AGREEMENT = 0.8
LARGEST_FACTOR = 1.3
# Pairs agree if half of them are within this logarithm of a factor; a ratio beyond this is absurd.
AGREED, ABSURD = 0.3, 3.0


@dataclass(frozen=True)
class Verdict:
    """What pairs of structures say about a label.

    Attributes:
        pairs: Pairs that were compared.
        ratio: Median of (difference of energies) / (work of the labels); NaN without pairs.
        unit: Unit that explains it; None if the pairs do not decide.
        sign: 1.0 if right, -1.0 if reversed.
        spread: How far the ratios are from their median, as the logarithm of a factor.
        deviation: How far the median is from the nearest unit, as the logarithm of a factor.
    """

    pairs: int
    ratio: float
    unit: str | None = None
    sign: float = 1.0
    spread: float = float("inf")
    deviation: float = float("inf")

    @property
    def is_absurd(self) -> bool:
        """Whether the pairs agree, but on a ratio that no error of a finite step explains."""
        ratio = abs(self.ratio)
        return self.spread < AGREED and (self.sign < 0 or not 1 / ABSURD < ratio < ABSURD)


def judge(energies: Sequence[float], works: Sequence[float], units: Mapping[str, float]) -> Verdict:
    """Return which unit and sign of a label explain differences of energies.

    Args:
        energies: Differences of energies in eV.
        works: Their estimates from the labels as they are.
        units: Factor that turns each unit into matkit's.
    """
    change, work = np.array(energies), np.array(works)
    use = (np.abs(change) > MIN_ENERGY) & (work != 0)
    if use.sum() < MIN_PAIRS:
        return Verdict(int(use.sum()), float("nan"))
    ratios = change[use] / work[use]
    median = float(np.median(ratios))
    if median == 0 or (np.sign(ratios) == np.sign(median)).mean() < AGREEMENT:
        return Verdict(len(ratios), median)
    deviation = {unit: abs(np.log(abs(median) / factor)) for unit, factor in units.items()}
    nearest = min(deviation, key=lambda unit: deviation[unit])
    unit = nearest if deviation[nearest] < np.log(LARGEST_FACTOR) else None
    same = ratios[np.sign(ratios) == np.sign(median)]
    spread = float(np.median(np.abs(np.log(same / median))))
    sign, off = float(np.sign(median)), float(deviation[nearest])
    return Verdict(len(ratios), median, unit, sign, spread, off)


def strained_pairs(dataset: Dataset) -> tuple[list[float], list[float], list[float]]:
    """Return energy differences of homogeneously strained pairs, V stress : strain, in eV, and V.

    The pairs have the same atoms at the same fractional coordinates, so that no force does work.
    """
    structures = dataset.structures
    labelled = structures.system["energy"].isfinite() & (structures.volume > 0)
    labelled &= structures.system["stress"].isfinite().flatten(1).all(dim=1)
    pairs = [
        pair
        for members in _same_fractional(structures, labelled.nonzero().flatten().tolist())
        for pair in pairwise(members)
    ]
    if not pairs:
        return [], [], []
    first, second = torch.tensor(pairs).T
    strain = _strain(structures.cell[first], structures.cell[second])
    energy, volume = structures.system["energy"], structures.volume
    pull = volume.reshape(-1, 1, 1) * structures.system["stress"]
    work = (0.5 * (pull[first] + pull[second]) * strain).sum(dim=(1, 2))
    small = strain.abs().amax(dim=(1, 2)) < MAX_STRAIN
    values = energy[second] - energy[first], work, 0.5 * (volume[first] + volume[second])
    changes, works, volumes = (value[small].tolist() for value in values)
    return changes, works, volumes


def stepping_pairs(dataset: Dataset) -> tuple[list[float], list[float]]:
    """Return energy differences of consecutive structures, and -force * displacement, in eV."""
    structures = dataset.structures
    offsets, species = structures.offsets.tolist(), structures.species
    energy, forces = structures.system["energy"], structures.atom["forces"]
    changes, works = [], []
    for i, j in pairwise(range(len(dataset))):
        one, other = slice(*offsets[i : i + 2]), slice(*offsets[j : j + 2])
        if structures.n_atoms[i] != structures.n_atoms[j] or one.stop - one.start == 1:
            continue
        step = structures.positions[other] - structures.positions[one]
        if step.abs().max() > MAX_STEP or not torch.equal(species[one], species[other]):
            continue
        if not torch.equal(structures.cell[i], structures.cell[j]):
            continue
        work = -(0.5 * (forces[one] + forces[other]) * step).sum()
        change = energy[j] - energy[i]
        if work.isfinite() and change.isfinite():
            changes.append(float(change))
            works.append(float(work))
    return changes, works


def _same_fractional(structures: Structures, which: Sequence[int]) -> list[list[int]]:
    """Group structures that differ by a strain only, each group in order of volume."""
    offsets, groups = structures.offsets.tolist(), dict[bytes, list[int]]()
    inverse = torch.linalg.inv(
        torch.where(
            (structures.volume > 0).reshape(-1, 1, 1),
            structures.cell,
            torch.eye(3, dtype=torch.float64),
        )
    )
    fractional = torch.einsum("nx,nxa->na", structures.positions, inverse[structures.batch])
    first = fractional[structures.offsets[:-1]][structures.batch]
    # Rounded before wrapping, so that 0.9999 and 0 are the same.
    keys = ((fractional - first) * 1000).round().to(torch.long).remainder(1000).numpy()
    species, volume = structures.species.numpy(), structures.volume.tolist()
    for i in which:
        rows = slice(offsets[i], offsets[i + 1])
        groups.setdefault(species[rows].tobytes() + keys[rows].tobytes(), []).append(i)
    return [sorted(group, key=lambda i: volume[i]) for group in groups.values()]


def _strain(before: Tensor, after: Tensor) -> Tensor:
    """Return the strain between two cells [P, 3, 3], relative to the cell in the middle."""
    gradient = torch.linalg.solve(0.5 * (before + after), after - before)
    return 0.5 * (gradient + gradient.transpose(1, 2))
