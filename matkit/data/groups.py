"""Which structures belong together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matkit.elements import SYMBOLS

if TYPE_CHECKING:
    from ase import Atoms

# In these, first one wins.
GROUP_KEYS = ("trajectory", "trajectory_id", "traj_id", "group", "group_id", "material_id")


def group_of(atoms: Atoms, key: str | None) -> str:
    """Return the group of a structure: what `key` or a usual key says, else its formula."""
    for name in (key,) if key is not None else GROUP_KEYS:
        if name in atoms.info:
            return str(atoms.info[name])
    return reduced_formula(atoms.numbers)


def reduced_formula(species: NDArray[np.integer[Any]]) -> str:
    """Return the formula of atomic numbers divided by its common factor, as ``O2Ti``."""
    counts = Counter(species.tolist())
    factor = int(np.gcd.reduce(list(counts.values())))
    parts = sorted((SYMBOLS[z], n // factor) for z, n in counts.items())
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in parts)
