"""Keep freed memory in the process: a step frees and asks for the same arrays again and again."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LIMIT = 2**30


def keep_freed_memory() -> bool:
    """Tell the allocator not to return arrays of up to 1 GiB to the system.

    By default glibc maps every array above 32 MiB anew, and the system zeroes its pages each
    time. This concerns the whole process, so only commands call it, not libraries.

    Returns:
        Whether the allocator is glibc's and understood.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(M_MMAP_THRESHOLD, LIMIT) and libc.mallopt(M_TRIM_THRESHOLD, LIMIT))
    except (OSError, AttributeError):
        return False
