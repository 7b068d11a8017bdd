"""Signals that end a run as Ctrl-C does, and some peace for it to write what it has."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What asks a process to end: Ctrl-C, a batch system or `kill`, a terminal that is closed.
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
# Seconds after the first signal in which others are not heeded: results are being written.
GRACE = 10.0


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let each of the signals raise KeyboardInterrupt, once in `GRACE` seconds.

    What the parent has told this process to ignore, as `nohup` does, stays ignored. After the first
    signal others cannot change the exit code while the interpreter ends.
    """
    handler = _Handler()
    known = (getattr(signal, name) for name in SIGNALS if hasattr(signal, name))
    heeded = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, handler)
    try:
        yield
    finally:
        if handler.called:
            for number in heeded:
                signal.signal(number, signal.SIG_IGN)


class _Handler:
    """Raises KeyboardInterrupt; a child that was forked ends as if it had no handler."""

    def __init__(self) -> None:
        self._process, self._last = os.getpid(), float("-inf")

    @property
    def called(self) -> bool:
        """Whether there was a signal."""
        return self._last > float("-inf")

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - self._last >= GRACE:
            self._last = now
            raise KeyboardInterrupt
