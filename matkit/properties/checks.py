"""What spoils the training of a property: gaps, constants, contradictions, a wrong kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import DataError
from matkit.interfaces.property_model import Target, columns_of
from matkit.listing import first_names
from matkit.nn.composition import CompositionFit, count_species
from matkit.structures import Structures

# Values of one structure that are farther apart than this part of the spread contradict.
CONTRADICTION = 1e-3
# How much better the other kind must explain a target before it is taken for that.
MUCH = 0.6
# Sizes must differ by this factor before anything can be said of them.
VARIED = 1.3


def refuse_gaps(
    targets: Sequence[Target], values: Tensor, sources: Sequence[str], allowed: bool
) -> list[str]:
    """Refuse targets that are missing.

    Args:
        targets: What is to be learnt.
        values: Numbers [B, W], NaN where missing.
        sources: Where each structure comes from.
        allowed: Whether some may be missing.

    Returns:
        What is to be said about them.

    Raises:
        DataError: some are missing and that is not allowed, or all are.
    """
    notes = []
    for target, columns in zip(targets, columns_of(targets), strict=True):
        known = values[:, columns].isfinite().all(1)
        lacking = [sources[i] for i in (~known).nonzero().flatten().tolist()]
        if len(lacking) == len(sources) or (lacking and not allowed):
            raise DataError(
                f"{len(lacking)} of {len(sources)} structures have no {target.name}: "
                f"{first_names(lacking)}. Set allow_missing to learn from the others."
            )
        if lacking:
            notes.append(f"{len(lacking)} of {len(sources)} structures have no {target.name}.")
    return notes


def refuse_constants(targets: Sequence[Target], values: Tensor) -> None:
    """Refuse targets that are the same everywhere.

    Args:
        targets: What is to be learnt.
        values: Numbers [B, W] of a training set, NaN where missing.

    Raises:
        DataError: one is.
    """
    for target, columns in zip(targets, columns_of(targets), strict=True):
        there = values[:, columns]
        there = there[there.isfinite().all(1)]
        if float(there.std(0, correction=0).max()) <= 1e-9 * float(there.abs().max()):
            raise DataError(
                f"{target.name} is {there[0].tolist()} in all {len(there)} structures: there is "
                "nothing to learn. Leave it out."
            )


def contradictions(
    names: Sequence[str], targets: Sequence[Target], values: Tensor, sources: Sequence[str]
) -> list[str]:
    """Return which structures come twice with different values, a sentence for each target.

    Args:
        names: What the same structures share.
        targets: What is to be learnt.
        values: Numbers [B, W], NaN where missing.
        sources: Where each structure comes from.
    """
    found = []
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(name, i)
    other = torch.tensor([first[name] for name in names])
    for target, columns in zip(targets, columns_of(targets), strict=True):
        column = values[:, columns]
        spread = column[column.isfinite()].std(correction=0)
        apart = ((column - column[other]).abs() > CONTRADICTION * spread).any(1)
        if not bool(apart.any()):
            continue
        pairs = [(int(other[i]), i) for i in apart.nonzero().flatten().tolist()]
        if target.width > 1:  # vectors of the same structure in another orientation
            pairs = [p for p in pairs if _lengths_differ(column, *p, float(spread))]
        said = [
            f"{sources[i]} = {sources[j]} ({_said(column[i])} and {_said(column[j])})"
            for i, j in pairs
        ]
        if said:
            found.append(
                f"{len(said)} structures come twice with different values of {target.name}: "
                f"{first_names(said)}."
            )
    return found


def _lengths_differ(column: Tensor, i: int, j: int, spread: float) -> bool:
    lengths = column[[i, j]].norm(dim=1)
    return float((lengths[0] - lengths[1]).abs()) > CONTRADICTION * spread


def _said(values: Tensor) -> str:
    return ", ".join(f"{value:.5g}" for value in values.tolist())


def remarks_on_charges(structures: Structures, conditions: Collection[str]) -> list[str]:
    """Return a warning of charged structures, if a network takes no charge into account."""
    charged = int((structures.system["charge"] != 0).sum())
    if not charged or "charge" in conditions:
        return []
    return [
        f"{charged} of {len(structures)} structures are charged, which this network does not take "
        "into account: it sees their atoms alone."
    ]


def remarks_on_kinds(
    targets: Sequence[Target], values: Float[Tensor, "B W"], structures: Structures
) -> list[str]:
    """Return warnings of intensive targets that grow with the number of atoms, and the reverse."""
    sizes = structures.n_atoms
    if float(sizes.max()) < VARIED * float(sizes.min()):
        return []
    said = []
    for target, columns in zip(targets, columns_of(targets), strict=True):
        if target.kind not in ("intensive", "extensive"):
            continue
        intensive, extensive = _misfits(values[:, columns], structures)
        other = {"intensive": "extensive", "extensive": "intensive"}[target.kind]
        ratio = extensive / intensive if other == "extensive" else intensive / extensive
        if ratio < MUCH:
            said.append(
                f"{target.name} was called {target.kind}, but with the number of atoms it changes "
                f"as an {other} property does: what a linear fit to the composition leaves is "
                f"{ratio:.2g} times as large if it is one. Say --target {target.name}:{other}, "
                "unless you know better."
            )
    return said


def _misfits(column: Tensor, structures: Structures) -> tuple[float, float]:
    """Return what fits to means and to sums over the atoms leave."""
    species, index = structures.species.unique(return_inverse=True)
    counts = count_species(index, structures.batch, (len(structures), len(species)))
    fit = CompositionFit(len(species), [False, True])
    fit.fit(counts, column.expand(-1, 2))
    tiny = 1e-12 * float(column[column.isfinite()].abs().max())
    means, sums = (fit.spread + tiny).tolist()
    return means, sums
