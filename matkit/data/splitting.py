"""Splitting data without leaking: structures of one origin stay together.

One trajectory, the commonest set of all, is cut into blocks of successive frames: frames drawn at
random would have a neighbour in time in every part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from matkit.data.dataset import Dataset
from matkit.data.duplicates import duplicates
from matkit.errors import DataError, UnknownNameError, did_you_mean

__all__ = ["duplicates", "remarks_on", "split_dataset", "split_groups", "split_indices"]

BY = ("group", "formula", "block", "random")
# Distributions of groups that are tried, until sizes are right to this part of all structures.
ATTEMPTS, GOOD_ENOUGH = 32, 0.005
# Part of its size that a set for validation or test must reach if groups stay together.
LEAST = 0.5
# Errors on fewer structures are too uncertain to rely on.
FEW = 10
Parts = list[list[int]]


def split_dataset(
    dataset: Dataset, fractions: Sequence[float], seed: int, by: str = "group"
) -> tuple[list[Dataset], list[str]]:
    """Split a data set, and return what is to be said about it; see `split_indices`."""
    parts, notes = split_indices(dataset, fractions, seed, by)
    return [dataset.subset(part) for part in parts], notes


def split_indices(
    dataset: Dataset, fractions: Sequence[float], seed: int, by: str = "group"
) -> tuple[Parts, list[str]]:
    """Split a data set, the same way for the same seed.

    Args:
        dataset: Structures; isolated atoms go to the first part.
        fractions: Size of each part; the sum is 1. With groups they are met as well as can be.
        seed: Seed of the choice.
        by: What stays together: a `group` (trajectory, or formula where there is none), a
            `formula`, a `block` of successive structures, or nothing (`random`). Groups that are
            too few or too unequal are cut into blocks, each by itself.

    Returns:
        Structures of each part, in the order of the data set, and what a user should know of it.

    Raises:
        DataError: the fractions are impossible, or there are fewer structures, or formulas if
            these stay together, than parts.
        UnknownNameError: `by` is none of the above.
    """
    isolated = dataset.isolated_indices()
    rest = sorted(set(range(len(dataset))) - set(isolated))
    names, notes = _groups(dataset, by), []
    groups = {names[i] for i in rest}
    whole = by != "block" and not (by == "group" and len(groups) < len(fractions))
    parts = split_groups(names, rest, fractions, seed) if whole else []
    if by == "block" or (by == "group" and _too_small(parts, fractions)):
        parts = _split_blocks(names, rest, fractions)
        notes = [_about_blocks(sorted(groups), fractions)] if by == "group" else []
    return [sorted([*isolated, *parts[0]]), *parts[1:]], notes


def remarks_on(sizes: Mapping[str, int]) -> list[str]:
    """Return warnings of sets for validation and test that are too small to tell anything.

    Args:
        sizes: Numbers of structures by the name of the set.
    """
    said = []
    for name, size in sizes.items():
        if size == 1:
            said.append(
                f"The {name} set is one structure: its errors say nothing about others. Take a "
                "larger part or more data."
            )
        elif size < FEW:
            said.append(f"The {name} set has {size} structures only: its errors are uncertain.")
    return said


def split_groups(
    names: Sequence[str], which: Iterable[int], fractions: Sequence[float], seed: int
) -> Parts:
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
    members = _members(names, which, fractions)
    if len(members) < len(fractions):
        raise DataError(
            f"Cannot split into {len(fractions)} parts: all structures belong to {len(members)} "
            f"group(s) ({', '.join(members) or 'none'}), and a group stays together. Split by "
            "random if they are independent, or by block (--split-by; in `data split` --by), or "
            "name what tells trajectories apart (--group-key)."
        )
    return [sorted(part) for part in _distribute(list(members.values()), fractions, seed)]


def _members(
    names: Sequence[str], which: Iterable[int], fractions: Sequence[float]
) -> dict[str, list[int]]:
    """Return the items of each group, after a look at the fractions."""
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"Expected positive fractions that add up to 1, got {list(fractions)}.")
    members: dict[str, list[int]] = {}
    for i in which:
        members.setdefault(names[i], []).append(i)
    return members


def _split_blocks(names: Sequence[str], which: Sequence[int], fractions: Sequence[float]) -> Parts:
    """Cut every group into successive blocks, one for each part that it is large enough for."""
    members = _members(names, which, fractions)
    if len(which) < len(fractions):
        raise DataError(
            f"Cannot split {len(which)} structure(s), isolated atoms apart, into "
            f"{len(fractions)} parts. Add structures, name a file for validation (--valid-file), "
            "or do without (--valid-fraction 0)."
        )
    parts: Parts = [[] for _ in fractions]
    for group in members.values():
        for part, block in zip(parts, _blocks(group, fractions), strict=True):
            part += block
    while not all(parts):  # groups of few structures: one that can be spared
        parts[parts.index([])].append(max(parts, key=len).pop())
    return [sorted(part) for part in parts]


def _blocks(group: list[int], fractions: Sequence[float]) -> Parts:
    """Cut a group; later parts get what is left over, and small groups go to the first."""
    count, parts = len(group), len(fractions)
    if count < parts:
        return [group, *([] for _ in fractions[1:])]
    ends = np.floor(np.cumsum(fractions) * count + 1e-6).astype(int).tolist()
    places = [0]
    for k, end in enumerate(ends, 1):  # every part gets something
        places.append(min(max(end, places[-1] + 1), count - parts + k))
    return [group[first:last] for first, last in pairwise(places)]


def _too_small(parts: Parts, fractions: Sequence[float]) -> bool:
    """Return whether whole groups leave too little for validation or test."""
    total = sum(map(len, parts))
    pairs = zip(parts[1:], fractions[1:], strict=False)
    return not parts or any(len(part) < LEAST * wanted * total for part, wanted in pairs)


def _about_blocks(groups: Sequence[str], fractions: Sequence[float]) -> str:
    named = ", ".join(groups[:3]) + (", ..." if len(groups) > 3 else "")
    return (
        f"All structures belong to {len(groups)} group(s) ({named}), too few or too unequal for "
        f"{len(fractions)} parts of {', '.join(f'{100 * part:.3g} %' for part in fractions)}: each "
        "was cut into blocks of successive structures, in the order of the files. Where "
        "blocks meet, neighbours in time are alike, so that errors look a little better than they "
        "are. If structures are independent, split by random; if there are several trajectories, "
        "name what tells them apart (--group-key)."
    )


def _groups(dataset: Dataset, by: str) -> Sequence[str]:
    if by not in BY:
        raise UnknownNameError(f"Cannot split by {by!r}.{did_you_mean(by, BY)}")
    if by == "group":
        return dataset.groups
    if by == "block":
        return ["everything"] * len(dataset)
    if by == "random":
        return [str(i) for i in range(len(dataset))]
    return dataset.formulas


def _distribute(groups: list[list[int]], fractions: Sequence[float], seed: int) -> Parts:
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
