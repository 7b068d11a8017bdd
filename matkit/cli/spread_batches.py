"""Batches of structures over workers; this process writes what they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import BatchedConfig, RunConfig
from matkit.cli.job_runs import RunContext
from matkit.cli.tasks import TASKS, AnyResult
from matkit.errors import ConfigError
from matkit.runs.executors import open_executor
from matkit.runs.items import Item, ItemResult
from matkit.runs.schedule import Plan, cut
from matkit.runs.spreading import spread

# Atoms of structures that are given to a worker together.
ATOMS = 500

Load = Callable[[RunConfig], BaseCalculator]


def open_workers(config: RunConfig) -> AbstractContextManager[Executor | None]:
    """Return the executor that a configuration names; None for commands without.

    Raises:
        ConfigError: there is no such executor.
        MissingExtraError: Parsl or Dask is not installed.
        SimulationError: workers cannot be had.
    """
    if not isinstance(config, BatchedConfig):
        return nullcontext()
    return open_executor(config.executor, config.workers)


def check_workers(context: RunContext, suits: bool) -> None:
    """Raise if workers are asked for what goes one after another.

    Raises:
        ConfigError: they are.
    """
    config = context.config
    if not isinstance(config, BatchedConfig) or suits:
        return
    if config.workers > 1 or config.executor != "local":
        raise ConfigError(
            "workers and executor take batches of structures, but with these options or this "
            "calculator structures are computed one after another. Leave batch_size at auto and "
            "write_traj out, or leave workers and executor out."
        )


def spread_batches(
    frames: Sequence[Atoms],
    context: RunContext,
    end: Callable[[int, AnyResult], None],
    fail: Callable[[int, str, str], None],
) -> None:
    """Give structures to workers.

    Args:
        frames: Structures.
        context: What all jobs share, with the executor.
        end: Called with the number and the result of each as it comes.
        fail: Called with the number, the reason and a message where there is none.

    Raises:
        SimulationError: no worker lives.
    """
    config = context.config
    assert isinstance(config, BatchedConfig)
    assert context.executor is not None
    items = [Item(number, f"structure {number}", atoms) for number, atoms in enumerate(frames)]
    waiting = set(range(len(items)))
    work = partial(_computed, context.common["command"], config, context.load)
    pieces = cut(items, Plan(_atoms, ATOMS))
    try:
        for outcomes in spread(pieces, work, context.executor, 4 * config.workers):
            for outcome in outcomes:
                waiting.discard(outcome.item.index)
                if "result" in outcome.facts:
                    end(outcome.item.index, outcome.facts["result"])
                else:
                    fail(outcome.item.index, "error", outcome.reason)
    except KeyboardInterrupt:
        for number in sorted(waiting):
            fail(number, "interrupted", "not finished")


def _atoms(item: Item) -> int:
    return len(item.content)


def _computed(
    command: str, config: BatchedConfig, load: Load, items: Sequence[Item]
) -> list[ItemResult]:
    """Return the results of some structures; what every worker does."""
    results: dict[int, Any] = {}
    run_many = TASKS[command].run_many
    assert run_many is not None
    frames = [item.content for item in items]
    run_many(
        frames,
        _calculator(load, config.model_dump_json(), type(config)),
        config,
        results.__setitem__,
    )
    return [
        ItemResult(item, "done", facts={"result": results[number]})
        for number, item in enumerate(items)
    ]


@lru_cache(maxsize=1)
def _calculator(load: Load, text: str, kind: type[BatchedConfig]) -> BaseCalculator:
    """Return the calculator of a configuration, which as such cannot be remembered."""
    return load(kind.model_validate_json(text))
