"""Scores of a set of structures, each with its protocol and the score of the reference itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.stats import wasserstein_distance

from matkit.report.tables import as_text, percent, shown

Item = TypeVar("Item")


@dataclass(frozen=True)
class Score:
    """One number and what it means.

    Attributes:
        name: Of the score.
        value: None if it is not defined.
        of: What it was computed from.
        protocol: How.
        reference: The same for the reference data, or None.
        of_reference: What that is, if not the same computation for the reference.
        is_share: Whether it is a part of a whole, which tables show as percentage.
    """

    name: str
    value: float | None
    of: str
    protocol: str
    reference: float | None = None
    of_reference: str = ""
    is_share: bool = False


def fraction(
    name: str, flags: Sequence[bool], protocol: str, reference: Sequence[bool] | None = None
) -> Score:
    """Return the score that is a fraction of a set."""
    return Score(
        name,
        _mean(flags),
        f"{sum(flags)} of {len(flags)}",
        protocol,
        None if reference is None else _mean(reference),
        is_share=True,
    )


def distribution(
    name: str,
    values: Sequence[float],
    reference: Sequence[float],
    protocol: str,
    rng: np.random.Generator,
) -> Score:
    """Return the Wasserstein distance of two distributions; None if either is empty.

    Args:
        name: Of the quantity.
        values: Of the generated structures.
        reference: Of the reference.
        protocol: What they are, with the unit.
        rng: For the halves of the reference that are compared for scale.
    """
    one, other = halves(reference, rng)
    return Score(
        name,
        wasserstein(values, reference),
        f"{len(values)} and {len(reference)} of the reference",
        protocol,
        wasserstein(one, other),
        "random halves",
    )


def halves(items: Sequence[Item], rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    """Return two random halves."""
    order = rng.permutation(len(items)).tolist()
    half = len(items) // 2
    return [items[i] for i in order[:half]], [items[i] for i in order[half:]]


def draw(flags: Sequence[bool], number: int, rng: np.random.Generator) -> list[int]:
    """Return the indices of at most `number` random ones of what is flagged, in order."""
    chosen = np.flatnonzero(flags)
    if len(chosen) > number:
        chosen = rng.choice(chosen, number, replace=False)
    return sorted(chosen.tolist())


def score_documents(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return scores as plain dictionaries."""
    return [dict(vars(score)) for score in scores]


def score_cells(scores: Sequence[Score]) -> list[list[str]]:
    """Return the table of scores, with one row of headings."""
    rows = [["score", "value", "reference data", "computed from", "protocol"]]
    for score in scores:
        mine, theirs = (_written(score, value) for value in (score.value, score.reference))
        if score.of_reference and score.reference is not None:
            theirs += f" ({score.of_reference})"
        rows.append([score.name, mine, theirs, score.of, score.protocol])
    return rows


def score_lines(scores: Sequence[Score]) -> list[str]:
    """Return the table of scores as lines; protocols, which are long, are not aligned."""
    rows = score_cells(scores)
    aligned = as_text([row[:-1] for row in rows]).splitlines()
    return [f"{line}  {row[-1]}" for line, row in zip(aligned, rows, strict=True)]


def _written(score: Score, value: float | None) -> str:
    return percent(value) if score.is_share and value is not None else shown(value)


def wasserstein(values: Sequence[float], reference: Sequence[float]) -> float | None:
    """Return the Wasserstein distance of two distributions; None if either is empty."""
    if not len(values) or not len(reference):
        return None
    return float(wasserstein_distance(values, reference))


def _mean(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
