"""Whether a model knows the elements of structures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from matkit.elements import format_species
from matkit.errors import UnknownElementError


def check_species(
    species: Int[Tensor, " N"], batch: Int[Tensor, " N"], known: tuple[int, ...]
) -> None:
    """Refuse structures with elements that a model does not know.

    Args:
        species: Atomic numbers [N].
        batch: Structure of each atom [N].
        known: Atomic numbers that the model knows.

    Raises:
        UnknownElementError: there are others; the message says in which structures.
    """
    unknown = set(species.unique().tolist()) - set(known)
    if not unknown:
        return
    mask = torch.isin(species, torch.tensor(sorted(unknown)).to(species.device))
    items = batch[mask].unique().tolist()
    n_items = int(batch[-1]) + 1
    raise UnknownElementError(_unknown_element(unknown, items, n_items, known))


def check_level(species: Int[Tensor, " N"], level: frozenset[int]) -> None:
    """Refuse elements whose energies do not fit together after fine-tuning.

    Raises:
        UnknownElementError: one is not of the level.
    """
    others = set(species.unique().tolist()) - level
    if others:
        raise UnknownElementError(
            f"The energies of this model fit together for {format_species(level)} only, which its "
            f"last training saw; {format_species(others)} are untrained or still at the level of "
            "its base. Use the base, or train with these elements in the data (in fine-tuning "
            "also: in replay_file). To compute it all the same: any_level=True (--any-level); "
            "forces may be good, energies are not."
        )


def _unknown_element(
    unknown: Iterable[int], items: list[int], n_items: int, known: tuple[int, ...]
) -> str:
    where = f" in structure(s) {', '.join(map(str, items))} of the batch" if n_items > 1 else ""
    return (
        f"The model does not know {format_species(unknown)}{where}. It knows "
        f"{len(known)} elements: {format_species(known)}. Use a model trained on these "
        "elements, or leave the structure out."
    )
