"""One molecule of a file, to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matkit.structures import Structures


@dataclass(frozen=True)
class MoleculeEntry:
    """One entry of a file, whether it can be used or not.

    Attributes:
        source: Where it comes from, as ``a.sdf[3]``.
        structures: The molecule with its bonds; None if there is none.
        reason: Why there is none.
        carried: What else the file says of it, by name.
    """

    source: str
    structures: Structures | None = None
    reason: str = ""
    carried: Mapping[str, Any] = field(default_factory=dict)
