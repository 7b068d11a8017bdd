"""One process at a time; the system opens the lock when that process ends, however it ends."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from matkit.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None  # type: ignore[assignment]


def lock(path: Path) -> IO[bytes]:
    """Return an open file that no other process can lock until it is closed.

    Raises:
        ConfigError: another process has it.
    """
    stream = path.open("ab")
    if fcntl is None:
        return stream
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise ConfigError(
            f"Expected to be alone, but another run is writing to {path.parent} ({path.name} is "
            "locked). Wait for it, or give each run a shard of its own."
        ) from error
    return stream
