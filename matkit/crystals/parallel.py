"""Work on crystals over processes, with a time-out for every piece of it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

Job = TypeVar("Job")
Found = TypeVar("Found")
# Jobs handed to a process at once.
CHUNK = 8


@dataclass(frozen=True)
class Pool:
    """Processes and what one piece of work may take.

    Attributes:
        timeout: Seconds of computing.
        executor: None to work in this process.
    """

    timeout: float
    executor: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Job], Found], jobs: Sequence[Job]) -> list[Found]:
        """Return `function` of each job, in order; it must be a function of a module."""
        if self.executor is None:
            return [_quiet(function, job) for job in jobs]
        futures = self.executor.map(_quiet, [function] * len(jobs), jobs, chunksize=CHUNK)
        return list(futures)


@contextmanager
def open_pool(workers: int, timeout: float) -> Iterator[Pool]:
    """Give a pool of processes; with one worker, this process itself."""
    if workers == 1:
        yield Pool(timeout)
        return
    # A fork of a process with threads, such as torch's, can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        yield Pool(timeout, executor)


def with_timeout(function: Callable[..., Found], arguments: Sequence[Any], seconds: float) -> Found:
    """Return `function(*arguments)`, if it computes for no longer than `seconds`.

    Only the time that this process has computed counts: what else the machine does must not change
    a score. The alarm interrupts Python between two of its steps, in the main thread of a process
    of a Unix system; elsewhere there is no limit.

    Raises:
        TimeoutError: it took longer.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        return function(*arguments)
    before = signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("out of time")


def _quiet(function: Callable[[Job], Found], job: Job) -> Found:
    """Work without the warnings of pymatgen about every second crystal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(job)
