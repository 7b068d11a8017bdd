"""The user's cache folder."""

from __future__ import annotations

import logging
import os
import stat
import sys
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return where converted weights and compiled kernels are kept: `MATKIT_CACHE` if set.

    A setting that is empty or relative is ignored, since the cache would then be wherever a
    command happens to run. Without a home directory, as in some containers, there is none.
    """
    own = _setting("MATKIT_CACHE")
    if own is not None:
        return own
    if sys.platform == "win32":
        base = _setting("LOCALAPPDATA") or Path("~/AppData/Local")
    else:
        base = _setting("XDG_CACHE_HOME") or Path("~/.cache")
    try:
        return base.expanduser() / "matkit"
    except RuntimeError:
        _warn("There is no home directory: nothing is kept for the next run. Set MATKIT_CACHE.")
        return None


def _setting(name: str) -> Path | None:
    text = os.environ.get(name, "")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path(text)
    if text and not path.is_absolute():
        _warn(f"{name}={text!r} is no absolute path and is ignored.")
    return path if path.is_absolute() else None


@lru_cache
def _warn(text: str) -> None:
    """Say something once."""
    log.warning("%s", text)


def is_private(path: Path) -> bool:
    """Return whether only the user can have written what is at `path`; say so if not."""
    if not hasattr(os, "geteuid"):  # Windows keeps other people out of the user's folders
        return True
    status = path.lstat()
    if status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    _warn(
        f"{path} belongs to another user or can be written by others, so that compiled code in it "
        f"is not used. Mend it (chmod go-w {path}), or set MATKIT_CACHE to a folder of your own."
    )
    return False
