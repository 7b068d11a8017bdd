"""Work over an executor: results as they are ready, and what becomes of work whose worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait

from matkit.errors import SimulationError
from matkit.runs.executors import is_death
from matkit.runs.items import Item, ItemResult, failed

Work = Callable[[Sequence[Item]], list[ItemResult]]
Pieces = dict["Future[list[ItemResult]]", list[Item]]
# Deaths without one success between them, times the pieces in flight, after which no worker can be
# expected to live.
HOPELESS = 10


def spread(
    chunks: Iterator[list[Item]], work: Work, executor: Executor, in_flight: int
) -> Iterator[list[ItemResult]]:
    """Give results as they are ready; only some pieces are read ahead, for the memory's sake.

    A piece whose worker died is given to another one. If that dies too, its items are tried at the
    very end, one at a time, so that those that only shared a worker with the culprit are not
    blamed. An item that outlives no worker has failed.

    Raises:
        SimulationError: no worker lives.
    """
    again: deque[list[Item]] = deque()
    last: list[Item] = []
    retried: set[int] = set()
    running: Pieces = {}
    deaths = 0
    while _fill(running, again, chunks, work, executor, in_flight):
        ready, _ = wait(running, return_when=FIRST_COMPLETED)
        # Those of workers that died come last: nothing that was finished is lost with them.
        for future in sorted(ready, key=lambda one: _error(one) is not None):
            chunk, error = running.pop(future), _error(future)
            if error is None or not is_death(error):
                deaths = 0
                yield future.result()
                continue
            deaths += 1
            if deaths > HOPELESS * in_flight:
                raise _no_worker_lives(error, chunk) from error
            if chunk[0].index in retried:
                last += chunk
            else:
                retried.add(chunk[0].index)
                again.append(chunk)
    for item in last:
        yield _alone(item, work, executor)


def _fill(
    running: Pieces,
    again: deque[list[Item]],
    chunks: Iterator[list[Item]],
    work: Work,
    executor: Executor,
    in_flight: int,
) -> bool:
    """Keep an executor busy, with what is to be done again first; return whether it is."""
    while len(running) < in_flight:
        chunk = again.popleft() if again else next(chunks, None)
        if chunk is None:
            break
        try:
            running[executor.submit(work, chunk)] = chunk
        except BrokenExecutor as error:  # of the user's; ours replace their dead
            if not running:
                raise _no_worker_lives(error, chunk) from error
            again.appendleft(chunk)
            break  # whatever is still running says so, after what was finished
    return bool(running)


def _alone(item: Item, work: Work, executor: Executor) -> list[ItemResult]:
    try:
        future = executor.submit(work, [item])
    except BrokenExecutor as broken:
        raise _no_worker_lives(broken, [item]) from broken
    wait([future])
    death = _error(future)
    if death is None or not is_death(death):
        return future.result()
    return [
        failed(item, f"three workers died at it, perhaps for want of memory; the last: {death}")
    ]


def _error(future: Future[list[ItemResult]]) -> BaseException | None:
    """Return what a piece ended with; one that was cancelled has lost its scheduler."""
    if future.cancelled():
        return BrokenExecutor("the scheduler gave the work up")
    return future.exception()


def _no_worker_lives(error: BaseException, chunk: Sequence[Item]) -> SimulationError:
    return SimulationError(
        f"The workers die, perhaps for want of memory, the last of them ({error}) at "
        f"{', '.join(item.source for item in chunk)}. What was finished is safe: run the same "
        "command again, with fewer workers if it was memory."
    )
