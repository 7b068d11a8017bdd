"""Give items to workers and write down what they return, in this process or over many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from matkit.runs.items import Item, ItemResult
from matkit.runs.ledger import Ledger
from matkit.runs.spreading import Work, spread


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
        SimulationError: no worker lives.
    """
    total, before = sum(1 for _ in items()), sum(ledger.counts.values())
    chunks = cut((item for item in items() if not ledger.is_known(item)), plan)
    results = _results(chunks, work, plan)
    begin = time.perf_counter()
    for outcomes in results:
        ledger.commit(outcomes)
        if on_progress is not None:
            on_progress(_progress(ledger.counts, total, before, time.perf_counter() - begin))
    ledger.sort()


def cut(items: Iterable[Item], plan: Plan) -> Iterator[list[Item]]:
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
    return spread(chunks, work, plan.executor, plan.in_flight)


def _progress(counts: Mapping[str, int], total: int, before: int, seconds: float) -> WorkProgress:
    done = sum(counts.values())
    left = seconds / (done - before) * (total - done) if done > before else None
    return WorkProgress(done, total, counts["failed"], counts["rejected"], left)
