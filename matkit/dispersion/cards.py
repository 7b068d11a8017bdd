"""Whether a model has learnt dispersion already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# Texts of a card that say which labels a model was trained on.
TEXTS: Final = ("level", "training_data", "description", "notes")
CORRECTED = re.compile(
    r"(?<!without )(?<!no )(?<![\w-])(?:D[234](?:\(?BJ\)?)?(?![\w])|[\w]+-D[234]\w*|"
    r"dispersion[- ]corrected|with dispersion|VV10|[\w-]*vdW-DF\w*|MBD|GFN[12](?:-xTB)?)",
    re.IGNORECASE,
)


def double_counting(card: Mapping[str, Any]) -> str:
    """Return the words of a card from which its labels hold dispersion; empty if none do."""
    for key in TEXTS:
        if found := CORRECTED.search(str(card.get(key, ""))):
            return found[0]
    return ""
