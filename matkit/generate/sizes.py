"""How many atoms structures are to have, where a generator does not find their number itself."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, isfinite, log
from typing import Any

# Sizes of the training set stay possible, however little the properties speak for them.
LEAST = 1e-9


def size_weights(card: Mapping[str, Any], asked: Mapping[str, float]) -> dict[int, float]:
    """Return how likely each number of atoms is for structures with the properties asked for.

    Sizes are those of the training set; each property is taken as normal among structures of one
    size, so that nine-atom molecules are not asked for a polarizability that only large ones have.
    EDM draws sizes and properties together as well (Hoogeboom et al., ICML 2022).

    Args:
        card: What the training noted: `n_atoms`, how many structures there were of each size, and
            `properties`, with the mean and the standard deviation for each size in `by_n_atoms`.
        asked: Value of each property that is asked for; infinite ones are goals and say nothing.

    Returns:
        Weights, which need not sum to one; none if the card has no sizes.
    """
    logs = {int(size): log(count) for size, count in card.get("n_atoms", {}).items() if count}
    for name, value in asked.items():
        spreads = card.get("properties", {}).get(name, {}).get("by_n_atoms", {})
        if not spreads or not isfinite(value):
            continue
        for size in logs:
            mean, deviation = spreads[str(size)]
            logs[size] -= 0.5 * ((value - mean) / deviation) ** 2 + log(deviation)
    top = max(logs.values(), default=0.0)
    return {size: max(exp(one - top), LEAST) for size, one in logs.items()}
