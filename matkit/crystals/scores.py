"""Scores of a set of crystals, each with its protocol and the score of the reference itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from matkit.crystals.judging import Facts
from matkit.crystals.matching import Tolerances
from matkit.evaluate.scores import Score, halves

# Thresholds of the coverage: distance of structure and of composition (Xie et al. 2022).
THRESHOLDS = {"mp-20": (0.4, 10.0), "perov-5": (0.2, 4.0), "carbon-24": (0.2, 4.0)}
# Of the scores of the coverage; the others are distances.
SHARES = ("COV-R", "COV-P")
GATES = {
    "off": "every prediction counts",
    "prediction": "invalid predictions count as unmatched (CDVAE; DiffCSP with many samples)",
    "both": "and so do invalid reference crystals (DiffCSP with one sample)",
}


@dataclass(frozen=True)
class Match:
    """How many crystals of the reference were found.

    Attributes:
        tolerances: Of the matcher.
        samples: Predictions for each crystal of the reference; the best one counts.
        gate: Key of `GATES`.
        rate: Matched fraction of the reference.
        rmse: Mean displacement of what matched, over (volume per atom)^(1/3); None without any.
        rmse_all: The same with stol for what did not match.
        ceiling: Rate that a perfect prediction would have.
        undecided: Pairs out of time or that the matcher failed on, counted as unmatched.
    """

    tolerances: Tolerances
    samples: int
    gate: str
    rate: float
    rmse: float | None
    rmse_all: float
    ceiling: float
    undecided: int


def matches(
    found: Sequence[float | None],
    samples: int,
    tolerances: Tolerances,
    valid: Sequence[bool],
    valid_reference: Sequence[bool],
) -> list[Match]:
    """Return match rates with one and all samples and every gate.

    Args:
        found: Displacement of each prediction from its reference, `samples` of each reference one
            after another; None without a match, infinite if undecided.
        samples: Predictions for each reference.
        tolerances: With which it was computed.
        valid: Of the predictions.
        valid_reference: Of the references.

    Source: Xie et al. 2022, section 5.1, and Jiao et al. 2023 (DiffCSP), section 5.1.
    """
    rms = np.array([math.inf if x is None else x for x in found]).reshape(-1, samples)
    good = np.array(valid, dtype=bool).reshape(-1, samples)
    undecided = np.array([x == math.inf for x in found]).reshape(-1, samples)
    reference = np.array(valid_reference, dtype=bool)[:, None]
    allowed = {"off": good | True, "prediction": good, "both": good & reference}
    # A perfect prediction is as valid as its reference.
    ceilings = {"off": 1.0, "prediction": reference.mean(), "both": reference.mean()}
    rows = []
    for gate, mask in allowed.items():
        for number in dict.fromkeys((1, samples)):
            best = np.where(mask, rms, math.inf)[:, :number].min(1)
            hits = np.isfinite(best)
            rows.append(
                Match(
                    tolerances,
                    number,
                    gate,
                    float(hits.mean()),
                    float(best[hits].mean()) if hits.any() else None,
                    float(np.where(hits, best, tolerances.stol).mean()),
                    float(ceilings[gate]),
                    int(undecided[:, :number].sum()),
                )
            )
    return rows


def coverage(
    facts: Sequence[Facts], reference: Sequence[Facts], thresholds: str, rng: np.random.Generator
) -> list[Score]:
    """Return recall and precision of the coverage and the mean nearest distances.

    Recall is the fraction of the reference whose nearest generated crystal is near in structure,
    and whose nearest generated crystal, perhaps another one, is near in composition. Precision is
    the transpose, over all generated crystals.

    Source: Xie et al. 2022, appendix B; after Xu et al. 2021 and Ganea et al. 2021.
    """
    found = _coverage(facts, reference, thresholds)
    one, other = halves(reference, rng)
    scale = _coverage(one, other, thresholds)
    near_structure, near_composition = THRESHOLDS[thresholds]
    protocol = (
        f"thresholds of {thresholds}: structure {near_structure}, composition {near_composition}; "
        "CrystalNN and Magpie fingerprints"
    )
    with_prints = sum(one.fingerprints is not None for one in facts)
    of = f"{with_prints} fingerprints of {len(facts)}"
    return [
        Score(name, value, of, protocol, scale.get(name), "random halves", name in SHARES)
        for name, value in found.items()
    ]


def _coverage(
    facts: Sequence[Facts], reference: Sequence[Facts], thresholds: str
) -> Mapping[str, float | None]:
    mine = [one.fingerprints for one in facts if one.fingerprints is not None]
    theirs = [one.fingerprints for one in reference if one.fingerprints is not None]
    names = ("COV-R", "COV-P", "AMSD-R", "AMSD-P", "AMCD-R", "AMCD-P")
    if not mine or not theirs:
        return dict.fromkeys(names)
    compositions, structures = (
        cdist([one[i] for one in mine], [one[i] for one in theirs]) for i in range(2)
    )
    near_structure, near_composition = THRESHOLDS[thresholds]
    near = [
        (structures.min(axis) <= near_structure) & (compositions.min(axis) <= near_composition)
        for axis in range(2)
    ]
    values = [near[0].mean(), near[1].sum() / len(facts)]
    values += [d.min(axis).mean() for d in (structures, compositions) for axis in range(2)]
    return dict(zip(names, map(float, values), strict=True))
