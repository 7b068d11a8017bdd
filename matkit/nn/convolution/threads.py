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
_forked = False


def _after_fork() -> None:
    # The threads of the parent's pool do not exist here, and waiting for them would never end.
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _openmp() -> tuple[Any, int, int] | None:
    """Return GOMP_parallel and two addresses from the OpenMP library torch is linked with."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            library = ctypes.CDLL(str(folder / name))
            parallel = library.GOMP_parallel
            calls = (library.omp_get_thread_num, library.omp_get_num_threads)
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        first, second = (ctypes.cast(call, ctypes.c_void_p).value or 0 for call in calls)
        return parallel, first, second
    return None


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def chunk_count() -> int:
    """Return into how many chunks the rows should be divided."""
    return 1 if _forked else torch.get_num_threads()


def run(entry: int, arguments: Any, bounds: Any, chunks: int) -> None:
    """Run ``entry`` for the rows ``bounds[k]:bounds[k + 1]`` of every chunk k.

    Args:
        entry: Address of the compiled function.
        arguments: Address of an array of pointers.
        bounds: Address of an array of chunks + 1 integers.
        chunks: Number of chunks, one for each thread.
    """
    openmp = _openmp() if chunks > 1 and not _forked else None
    if openmp is not None:
        parallel, thread_num, num_threads = openmp
        job = (ctypes.c_void_p * 5)(arguments, bounds, chunks, thread_num, num_threads)
        parallel(entry, ctypes.addressof(job), chunks, 0)
    elif chunks > 1 and not _forked:
        size = ctypes.sizeof(ctypes.c_int64)
        jobs = [
            (ctypes.c_void_p * 5)(arguments, bounds + k * size, 1, None, None)
            for k in range(chunks)
        ]
        list(_pool().map(lambda job: _Entry(entry)(ctypes.addressof(job)), jobs))
    else:
        job = (ctypes.c_void_p * 5)(arguments, bounds, chunks, None, None)
        _Entry(entry)(ctypes.addressof(job))
