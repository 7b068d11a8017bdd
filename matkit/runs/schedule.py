"""Give items to workers and write down what they return, in this process or over many."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from matkit.errors import SimulationError
from matkit.runs.items import Item, ItemResult
from matkit.runs.ledger import Ledger

Work = Callable[[Sequence[Item]], list[ItemResult]]


@dataclass(frozen=True)
class WorkProgress:
    """How far a campaign is.

    Attributes:
        done: Items that were finished, by earlier runs too.
        total: Items in all.
        failed: Those among `done` that failed.
        rejected: Those among `done` that a filter rejected.
        seconds_left: Expected, None before the first result.
    """

    done: int
    total: int
    failed: int
    rejected: int
    seconds_left: float | None


OnProgress = Callable[[WorkProgress], None]


@dataclass(frozen=True)
class Plan:
    """How the work is cut and spread.

    Attributes:
        cost: Cost of an item, such as its number of atoms.
        limit: Most cost of items that are given to a worker together.
        executor: Where the work is done; None for this process.
        in_flight: Pieces of work that wait or run at once.
    """

    cost: Callable[[Item], int]
    limit: int
    executor: Executor | None = None
    in_flight: int = 4


def carry_out(
    items: Callable[[], Iterable[Item]],
    work: Work,
    ledger: Ledger,
    plan: Plan,
    on_progress: OnProgress | None = None,
) -> None:
    """Do everything that the ledger does not know of, then sort what was written.

    Args:
        items: Gives all items; called twice, to count them first.
        work: Returns one outcome for every item; must be picklable for an executor.
        ledger: Where results are written as they come.
        plan: How the work is cut and spread.
        on_progress: Called after every piece of work.

    Raises:
        SimulationError: a worker process died.
    """
    total, before = sum(1 for _ in items()), sum(ledger.counts.values())
    chunks = _chunks((item for item in items() if not ledger.is_known(item)), plan)
    results = _results(chunks, work, plan)
    begin = time.perf_counter()
    for outcomes in results:
        ledger.commit(outcomes)
        if on_progress is not None:
            on_progress(_progress(ledger.counts, total, before, time.perf_counter() - begin))
    ledger.sort()


@contextmanager
def open_executor(workers: int, threads: int = 1) -> Iterator[Executor | None]:
    """Give an executor of processes; None for one worker, which is this process itself.

    Args:
        workers: Processes.
        threads: Threads of torch in each of them.
    """
    if workers == 1:
        yield None
        return
    # A fork of a process with threads, such as torch's, can hang.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, _prepare, (threads,))
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare(threads: int) -> None:
    """Make a worker leave Ctrl-C and the like to its parent, end with it, and share the cores."""
    import torch

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """Wait for the parent's end, which may be sudden; the worker would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _chunks(items: Iterable[Item], plan: Plan) -> Iterator[list[Item]]:
    """Cut items into lists that cost no more than the limit, or hold one item."""
    chunk: list[Item] = []
    spent = 0
    for item in items:
        cost = plan.cost(item)
        if chunk and spent + cost > plan.limit:
            yield chunk
            chunk, spent = [], 0
        chunk.append(item)
        spent += cost
    if chunk:
        yield chunk


def _results(chunks: Iterator[list[Item]], work: Work, plan: Plan) -> Iterator[list[ItemResult]]:
    if plan.executor is None:
        return (work(chunk) for chunk in chunks)
    return _spread(chunks, work, plan.executor, plan.in_flight)


def _spread(
    chunks: Iterator[list[Item]], work: Work, executor: Executor, in_flight: int
) -> Iterator[list[ItemResult]]:
    """Give results as they are ready; only some pieces are read ahead, for the memory's sake."""
    running: dict[Future[list[ItemResult]], list[Item]] = {}
    while True:
        for chunk in islice(chunks, in_flight - len(running)):
            try:
                running[executor.submit(work, chunk)] = chunk
            except BrokenExecutor as error:
                if not running:
                    raise _worker_died(chunk) from error
                break  # whatever is still running says so, after what was finished
        if not running:
            return
        ready, _ = wait(running, return_when=FIRST_COMPLETED)
        # Those of workers that died come last: nothing that was finished is lost with them.
        for future in sorted(ready, key=lambda one: one.exception() is not None):
            yield _result(future, running.pop(future))


def _result(future: Future[list[ItemResult]], chunk: Sequence[Item]) -> list[ItemResult]:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise _worker_died(chunk) from error


def _worker_died(chunk: Sequence[Item]) -> SimulationError:
    return SimulationError(
        f"A worker died, perhaps for want of memory, while some were at work on "
        f"{', '.join(item.source for item in chunk)}. What was finished is safe: run the same "
        "command again, with fewer workers if it was memory."
    )


def _progress(counts: Mapping[str, int], total: int, before: int, seconds: float) -> WorkProgress:
    done = sum(counts.values())
    left = seconds / (done - before) * (total - done) if done > before else None
    return WorkProgress(done, total, counts["failed"], counts["rejected"], left)
