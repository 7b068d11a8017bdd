"""Structures with elements that a model was not made for."""

from __future__ import annotations

from collections.abc import Collection

import torch

from matkit.data.dataset import Dataset
from matkit.elements import format_species
from matkit.errors import DataError, UnknownElementError
from matkit.listing import first_names


def unknown_elements(species: Collection[int], dataset: Dataset) -> set[int]:
    """Return the atomic numbers of a data set that are not among `species`."""
    return set(dataset.structures.species.unique().tolist()) - set(species)


def refuse_unknown(species: Collection[int], dataset: Dataset) -> None:
    """Raise if a model that knows `species` cannot be used for every structure.

    Raises:
        UnknownElementError: the message names elements and structures.
    """
    if not unknown_elements(species, dataset):
        return
    where = [dataset.sources[i] for i in with_unknown(species, dataset)]
    raise UnknownElementError(
        f"The model does not know {format_species(unknown_elements(species, dataset))}, in "
        f"{first_names(where)}. It knows {format_species(species)}. Use a model "
        "trained on these elements, or leave these structures out with skip_unknown."
    )


def with_unknown(species: Collection[int], dataset: Dataset) -> list[int]:
    """Return the structures with an element that is not among `species`."""
    structures = dataset.structures
    unknown = ~torch.isin(structures.species, torch.tensor(sorted(species)))
    return structures.batch[unknown].unique().tolist()


def known_part(species: Collection[int], dataset: Dataset) -> Dataset:
    """Return the structures that a model which knows `species` can be used for.

    Raises:
        DataError: there are none.
    """
    left_out = set(with_unknown(species, dataset))
    if len(left_out) == len(dataset):
        raise DataError(
            "Every structure has elements that the model does not know: "
            f"{format_species(unknown_elements(species, dataset))}. It knows "
            f"{format_species(species)}."
        )
    if not left_out:
        return dataset
    return dataset.subset([i for i in range(len(dataset)) if i not in left_out])
