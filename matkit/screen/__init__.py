"""The chain from candidates to verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.screen.api import screen
    from matkit.screen.options import ScreenOptions
    from matkit.screen.verdicts import Screening

_HOME = {"ScreenOptions": "options", "Screening": "verdicts", "screen": "api"}
__all__ = ["ScreenOptions", "Screening", "screen"]

__getattr__ = exports(__name__, _HOME)
