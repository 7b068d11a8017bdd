"""One run at a time in a place; the system opens the lock when the process ends, somehow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from matkit.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


class Lock:
    """A file that no other process can lock until it is closed; it is removed then.

    Args:
        path: Hidden file of the lock; folders that are made for it are removed again if nothing
            was put into them.

    Raises:
        ConfigError: another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] | None = _locked(path)

    def close(self) -> None:
        """Let others in; it may be closed twice."""
        if self._stream is not None:
            # Before it is opened, while nobody else can have it; Windows keeps it then.
            with suppress(OSError):
                self._path.unlink()
            self._stream.close()
            self._stream = None
            with suppress(OSError):  # there are results in it
                for folder in self._made:
                    folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def alone(folder: str | Path, name: str = "") -> Iterator[None]:
    """Keep other runs out of a folder, or from the files there whose names begin with `name`.

    Raises:
        ConfigError: another run is writing there.
    """
    with Lock(Path(folder) / f".{name or 'matkit'}.lock"):
        yield


def _locked(path: Path) -> IO[bytes]:
    while True:
        stream = path.open("ab")
        if fcntl is None:
            return stream
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise ConfigError(
                f"Expected to be alone, but another run is writing to {path.parent} ({path.name} "
                "is locked). Wait for it, or give each run a folder or a shard of its own."
            ) from error
        except OSError as error:  # some network file systems have no locks
            log.warning("Cannot lock %s (%s): start no second run in this folder.", path, error)
            return stream
        if _is_at(stream, path):
            return stream
        stream.close()  # whoever had it has just removed it


def _is_at(stream: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
