"""Stability of molecules by the distance table of EDM, without bonds of their own.

Hoogeboom et al., ICML 2022 (EDM), with the lengths of Wired Chemist. Kept for comparison with
published numbers: it was tuned on QM9, of which it rejects one molecule in twenty all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matkit.elements import ATOMIC_NUMBERS, format_species
from matkit.errors import StructureError
from matkit.structures import Structures

# Lengths of single, double and triple bonds in pm, and how much longer they may be.
LENGTHS = (
    {
        "HH": 74, "HC": 109, "HN": 101, "HO": 96, "HF": 92,
        "CC": 154, "CN": 147, "CO": 143, "CF": 135,
        "NN": 145, "NO": 140, "NF": 136, "OO": 148, "OF": 142, "FF": 142,
    },
    {"CC": 134, "CN": 129, "CO": 120, "NN": 125, "NO": 121, "OO": 121},
    {"CC": 120, "CN": 116, "CO": 113, "NN": 110},
)  # fmt: skip
MARGINS = (10, 5, 3)
VALENCES = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1}


@dataclass(frozen=True)
class TableStability:
    """Which atoms and molecules are stable.

    Attributes:
        atoms: Whether the orders of an atom's bonds add up to its valence [N].
        molecules: Whether all atoms are stable [B].
    """

    atoms: Bool[Tensor, " N"]
    molecules: Bool[Tensor, " B"]


def table_stability(structures: Structures) -> TableStability:
    """Return which atoms and molecules are stable.

    Raises:
        StructureError: there is an element without an entry in the table.
    """
    species = structures.species
    known = torch.tensor([ATOMIC_NUMBERS[symbol] for symbol in VALENCES])
    if strange := sorted(set(species.tolist()) - set(known.tolist())):
        raise StructureError(
            f"EDM's table knows {format_species(known.tolist())}; got {format_species(strange)}."
        )
    stable = torch.cat([_stable(part) for part in structures.split()])
    unstable = torch.zeros(len(structures), dtype=torch.long)
    unstable.index_add_(0, structures.batch, (~stable).long())
    return TableStability(stable, unstable == 0)


def _stable(part: Structures) -> Bool[Tensor, " n"]:
    distance = 100 * torch.cdist(part.positions, part.positions)
    wanted = torch.tensor(_VALENCES)[part.species]
    return _orders(distance, part.species).sum(dim=1) == wanted


def _orders(distance: Tensor, species: Int[Tensor, " n"]) -> Int[Tensor, "n n"]:
    """Return the orders of bonds by distances in pm; one of a higher order needs a lower one."""
    limits = torch.tensor(_LIMITS)[:, species.unsqueeze(1), species.unsqueeze(0)]
    single, double, triple = distance < limits
    order = single.long() + (single & double).long() + (single & double & triple).long()
    return order.fill_diagonal_(0)


def _tables() -> tuple[np.ndarray, list[int]]:
    """Return the longest bonds by order and atomic numbers, and valences by atomic number."""
    numbers = {symbol: ATOMIC_NUMBERS[symbol] for symbol in VALENCES}
    size = 1 + max(numbers.values())
    limits = np.zeros((3, size, size))
    for table, lengths, margin in zip(limits, LENGTHS, MARGINS, strict=True):
        for symbols, length in lengths.items():
            a, b = (numbers[symbol] for symbol in symbols)
            table[a, b] = table[b, a] = length + margin
    return limits, [VALENCES.get(_symbol(z), -1) for z in range(size)]


def _symbol(number: int) -> str:
    return next((symbol for symbol, z in ATOMIC_NUMBERS.items() if z == number), "")


_LIMITS, _VALENCES = _tables()
