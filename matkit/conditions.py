"""Total charge and multiplicity, and the models that know nothing of them."""

from __future__ import annotations

from collections.abc import Collection

import torch

from matkit.errors import IgnoredConditionError
from matkit.structures import Structures

# What a structure has that does not say: no charge (e), a singlet (multiplicity 2S+1).
NEUTRAL = {"charge": 0.0, "spin": 1.0}


def ignored_conditions(structures: Structures, conditions: Collection[str]) -> dict[int, str]:
    """Return which charges and multiplicities a model leaves out of account.

    Args:
        structures: Batch.
        conditions: What the model takes into account, as `matkit.interfaces.Potential.conditions`.

    Returns:
        By the number of the structure, e.g. "charge 1 and spin 3"; a neutral singlet is none.
    """
    found: dict[int, list[str]] = {}
    for key, neutral in NEUTRAL.items():
        values = structures.system.get(key)
        if values is None or key in conditions:
            continue
        for item in torch.nonzero(values != neutral).flatten().tolist():
            found.setdefault(item, []).append(f"{key} {float(values[item]):g}")
    return {item: " and ".join(texts) for item, texts in sorted(found.items())}


def refuse_ignored(
    structures: Structures, conditions: Collection[str], names: Collection[str] = ()
) -> None:
    """Refuse charges and multiplicities that a model would leave out of account.

    Args:
        structures: Batch.
        conditions: What the model takes into account.
        names: What each structure is called, for the message.

    Raises:
        IgnoredConditionError: there are some.
    """
    found = ignored_conditions(structures, conditions)
    if not found:
        return
    first, text = next(iter(found.items()))
    where = f" in {list(names)[first]}" if names else ""
    others = f" (and {len(found) - 1} more structures)" if len(found) > 1 else ""
    raise IgnoredConditionError(
        f"The structure has {text}{where}{others}, but this model does not take that into account: "
        "what it gives is that of a neutral singlet. Choose a model that does, or go on without: "
        "--ignore-charge, in Python ignore_charge=True."
    )
