"""Whether a structure, or what is predicted of it, lies beyond what a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.elements import ATOMIC_NUMBERS, format_species
from matkit.interfaces.property_model import Target, columns_of
from matkit.structures import Structures


def outside(
    card: Mapping[str, Any], structures: Structures, values: Float[Tensor, "B W"]
) -> list[str]:
    """Return for each structure what is beyond the training set; nothing if all is within.

    Args:
        card: What the model file says of its training.
        structures: Structures.
        values: Predictions, NaN where there are none.
    """
    words = str(card["elements_seen"]).replace(",", " ").split()
    known = torch.tensor([ATOMIC_NUMBERS[word] for word in words if word in ATOMIC_NUMBERS])
    fewest, most = card["n_atoms"]
    strange = ~torch.isin(structures.species, known)
    parts = strange.split(structures.n_atoms.tolist())
    kinds = structures.species.split(structures.n_atoms.tolist())
    said = []
    for i, count in enumerate(structures.n_atoms.tolist()):
        reasons = []
        if bool(parts[i].any()):
            new = format_species(set(kinds[i][parts[i]].tolist()))
            reasons.append(f"elements never seen: {new}")
        if not fewest <= count <= most:
            reasons.append(f"{count} atoms, trained on {fewest} to {most}")
        said.append([*reasons, *_values_outside(card["targets"], values[i])])
    return ["; ".join(reasons) for reasons in said]


def _values_outside(targets: Sequence[Mapping[str, Any]], row: Float[Tensor, " W"]) -> list[str]:
    plain = [Target(**{key: one[key] for key in Target._fields}) for one in targets]
    reasons = []
    for one, columns in zip(targets, columns_of(plain), strict=True):
        values = row[columns]
        if bool(((values < one["min"]) | (values > one["max"])).any()):
            reasons.append(f"{one['name']} beyond {one['min']:.5g} to {one['max']:.5g}")
    return reasons
