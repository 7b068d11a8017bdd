"""Labelling from Python: options by name, or an object of options."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from matkit.errors import ConfigError
from matkit.label.options import LabelConfig
from matkit.label.run import Labelling, Placement
from matkit.label.run import label as label_files
from matkit.options import dump_config, resolve
from matkit.runs.atomic import write_atomically
from matkit.runs.executors import open_executor
from matkit.runs.items import parse_shard
from matkit.runs.schedule import OnProgress


def label(
    options: LabelConfig | None = None,
    *,
    executor: Executor | None = None,
    on_progress: OnProgress | None = None,
    **changes: Any,
) -> Labelling:
    """Label structures, e.g. ``label(struct="frames.xyz", out="labels", calculator="gfn2")``.

    Args:
        options: See `LabelConfig`.
        executor: Any executor of `concurrent.futures`, such as Parsl's, that does the work of
            `workers` processes; the one that the options name if not given.
        on_progress: Called after every piece of work.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, no structures are named, the calculator
            cannot be made, or labels in the folder were made otherwise.
        DataError: a file is missing or is not what it was when the labels were begun.
        OutputExistsError: there are structures of unknown origin.
        SimulationError: workers cannot be had, or none lives.
    """
    options = resolve(LabelConfig, options, changes)
    if not options.struct:
        raise ConfigError(
            "Expected structures to label, got none. Name files: struct in Python, or matkit label "
            "STRUCTURES... OUT --calculator NAME."
        )
    shard = parse_shard(options.shard)
    with _executor(executor, options) as workers:
        where = Placement(
            options.out,
            shard,
            options.overwrite,
            options.retry_failed,
            workers,
            4 * options.workers,
        )
        result = label_files(options.struct, where, options.options(), on_progress)
    write_atomically(result.files.path("-config.yaml"), dump_config(options).encode())
    return result


@contextmanager
def _executor(executor: Executor | None, options: LabelConfig) -> Iterator[Executor | None]:
    """Give the executor, or the one of the options."""
    if executor is not None:
        yield executor
        return
    with open_executor(options.executor, options.workers) as own:
        yield own
