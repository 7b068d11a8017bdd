"""Files that are never seen half written."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> Path:
    """Write `data` so that `path` never holds half a file: after a crash, or with two writers.

    Args:
        path: File; its folder is made if it is not there. A link is replaced and not followed.
        data: Its content.
        mode: Permissions, from which the user's mask is taken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are for their owner only.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
