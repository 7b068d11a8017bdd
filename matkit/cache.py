"""The user's cache folder, and files that are never seen half written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from uuid import uuid4


def cache_folder() -> Path:
    """Return where converted weights and compiled kernels are kept: `MATKIT_CACHE` if set."""
    if "MATKIT_CACHE" in os.environ:
        return Path(os.environ["MATKIT_CACHE"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "matkit"


def write_atomically(path: Path, data: bytes) -> Path:
    """Write `data` so that `path` never holds half a file: after a crash, or with two writers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are for their owner only.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
