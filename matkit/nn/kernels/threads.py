"""Runs compiled kernels on torch's own OpenMP threads.

A second pool of threads would fight with torch's, whose idle threads spin for milliseconds on the
cores it needs.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
CHUNKS_PER_THREAD = 4
_forked = False


def _after_fork() -> None:
    # The threads of the parent's pool do not exist here, and waiting for them would never end.
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _openmp() -> Any:
    """Return GOMP_parallel of the OpenMP library torch is linked with, or None."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            parallel = ctypes.CDLL(str(folder / name)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return parallel
    return None


# Calls of a function at an address.
_function = lru_cache(maxsize=None)(_Entry)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def thread_count() -> int:
    """Return how many threads kernels may use: torch's number, one in a forked process."""
    return 1 if _forked else torch.get_num_threads()


def chunk_count() -> int:
    """Return into how many chunks rows should be divided."""
    threads = thread_count()
    return 1 if threads == 1 else CHUNKS_PER_THREAD * threads


def run(entry: int, arguments: int, bounds: int, chunks: int) -> None:
    """Run ``entry`` for the rows ``bounds[k]:bounds[k + 1]`` of every chunk k.

    Args:
        entry: Address of the compiled function.
        arguments: Address of an array of pointers.
        bounds: Address of an array of chunks + 1 integers.
        chunks: Number of chunks.
    """
    job = (ctypes.c_int64 * 4)(arguments, bounds, chunks, 0)
    address, threads = ctypes.addressof(job), 1 if chunks == 1 else min(thread_count(), chunks)
    parallel = _openmp() if threads > 1 else None
    if parallel is not None:
        parallel(entry, address, threads, 0)
    elif threads > 1:
        list(_pool().map(_function(entry), [address] * threads))
    else:
        _function(entry)(address)
