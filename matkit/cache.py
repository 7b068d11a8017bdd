"""The user's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return where converted weights and compiled kernels are kept: `MATKIT_CACHE` if set."""
    if "MATKIT_CACHE" in os.environ:
        return Path(os.environ["MATKIT_CACHE"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "matkit"
