"""Splitting data without leaking: structures of one origin stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from matkit.data.dataset import Dataset
from matkit.data.duplicates import duplicates
from matkit.errors import DataError, UnknownNameError, did_you_mean

__all__ = ["duplicates", "split_dataset", "split_groups", "split_indices"]

BY = ("group", "formula", "random")
# Distributions of groups that are tried, until sizes are right to this part of all structures.
ATTEMPTS, GOOD_ENOUGH = 32, 0.005


def split_dataset(
    dataset: Dataset, fractions: Sequence[float], seed: int, by: str = "group"
) -> list[Dataset]:
    """Split a data set; see `split_indices`."""
    return [dataset.subset(part) for part in split_indices(dataset, fractions, seed, by)]


def split_indices(
    dataset: Dataset, fractions: Sequence[float], seed: int, by: str = "group"
) -> list[list[int]]:
    """Split a data set at random, the same way for the same seed.

    Args:
        dataset: Structures; isolated atoms go to the first part.
        fractions: Size of each part; the sum is 1. With groups they are met as well as can be.
        seed: Seed of the choice.
        by: What stays together: a `group` (trajectory, or formula where there is none), a
            `formula`, or nothing (`random`).

    Returns:
        Structures of each part, in the order of the data set.

    Raises:
        DataError: the fractions are impossible, or there are fewer groups than parts.
        UnknownNameError: `by` is none of the above.
    """
    isolated = dataset.isolated_indices()
    rest = sorted(set(range(len(dataset))) - set(isolated))
    parts = split_groups(_groups(dataset, by), rest, fractions, seed)
    return [sorted([*isolated, *parts[0]]), *parts[1:]]


def split_groups(
    names: Sequence[str], which: Iterable[int], fractions: Sequence[float], seed: int
) -> list[list[int]]:
    """Split the items numbered `which` at random; items of one name stay together.

    Args:
        names: Name of the group of every item.
        which: Items to split.
        fractions: Size of each part; the sum is 1.
        seed: Seed of the choice.

    Returns:
        Items of each part, in increasing order.

    Raises:
        DataError: the fractions are impossible, or there are fewer groups than parts.
    """
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"Expected positive fractions that add up to 1, got {list(fractions)}.")
    members: dict[str, list[int]] = {}
    for i in which:
        members.setdefault(names[i], []).append(i)
    if len(members) < len(fractions):
        raise DataError(
            f"Cannot split into {len(fractions)} parts: all structures belong to {len(members)} "
            f"group(s) ({', '.join(members) or 'none'}), and a group stays together. Split by "
            "random if they are independent (--split-by random; in `data split` --by random), or "
            "name what tells trajectories apart (--group-key)."
        )
    return [sorted(part) for part in _distribute(list(members.values()), fractions, seed)]


def _groups(dataset: Dataset, by: str) -> Sequence[str]:
    if by not in BY:
        raise UnknownNameError(f"Cannot split by {by!r}.{did_you_mean(by, BY)}")
    if by == "group":
        return dataset.groups
    if by == "random":
        return [str(i) for i in range(len(dataset))]
    return dataset.formulas


def _distribute(groups: list[list[int]], fractions: Sequence[float], seed: int) -> list[list[int]]:
    """Return the best of some random distributions of whole groups, or the first that is good."""
    rng, total = np.random.default_rng(seed), sum(map(len, groups))
    wanted, best, least = np.array(fractions) * total, list[list[int]](), np.inf
    for _ in range(ATTEMPTS):
        parts = _distribute_once([groups[i] for i in rng.permutation(len(groups))], wanted)
        error = float(np.abs([len(part) for part in parts] - wanted).max())
        if error < least:
            best, least = parts, error
        if error < GOOD_ENOUGH * total + 1:
            break
    return best


def _distribute_once(groups: list[list[int]], wanted: np.ndarray) -> list[list[int]]:
    """Give every group to the part that lacks most."""
    parts: list[list[list[int]]] = [[] for _ in wanted]
    lacking = wanted.copy()
    for group in groups:
        neediest = int(lacking.argmax())
        parts[neediest].append(group)
        lacking[neediest] -= len(group)
    for part in parts:
        if not part:  # a small fraction of few groups: one that can be spared
            part.append(max(parts, key=len).pop())
    return [[i for group in part for i in group] for part in parts]
