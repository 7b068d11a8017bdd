"""Where work is done: in this process, in processes of this machine, by Parsl or by Dask."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shlex
import signal
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from matkit.errors import ConfigError, MissingExtraError, SimulationError

Value = TypeVar("Value")

KINDS = "local, parsl, parsl:CONFIG.py, dask or dask:ADDRESS"
# What raises on the side of Parsl or Dask has failed outside the work: a worker or a node died.
OUTSIDE = ("parsl", "distributed")
# Seconds in which a scheduler of Dask must answer, and between looks at Parsl's local workers.
REACH, LOOK = 10.0, 1.0


@contextmanager
def open_executor(where: str, workers: int) -> Iterator[Executor | None]:
    """Give an executor; None for one local worker, which is this process itself.

    Args:
        where: One of `KINDS`. What is started here ends here.
        workers: Processes that are started here; they share the cores.

    Raises:
        ConfigError: there is no such kind, or the file defines no configuration of Parsl.
        MissingExtraError: Parsl or Dask is not installed.
        SimulationError: workers cannot be started or reached.
    """
    kind, colon, place = where.partition(":")
    if kind not in ("local", "parsl", "dask") or (colon and (kind == "local" or not place)):
        raise ConfigError(f"Expected an executor such as {KINDS}; got {where!r}.")
    if where == "local" and workers == 1:
        yield None
        return
    with ExitStack() as stack:
        yield _started(where, workers, stack)


def _started(where: str, workers: int, stack: ExitStack) -> Executor:
    """Return an executor after its workers were started, or say why they cannot be had."""
    kind, _, place = where.partition(":")
    threads = max(1, (os.cpu_count() or 1) // workers)
    try:
        match kind:
            case "parsl":
                return _parsl(place, workers, threads, stack)
            case "dask":
                return _dask(place, workers, threads, stack)
        executor = Processes(workers, threads)
        stack.push(executor.end)
        return executor
    except ConfigError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f'{where} needs packages that are missing: pip install "matkit[parallel]" ({error})'
        ) from error
    except Exception as error:  # what a scheduler or a batch system says
        raise SimulationError(
            f"Expected workers by {where}, but they cannot be had: {type(error).__name__}: "
            f"{error}. Nothing was computed. Check the address or the configuration."
        ) from error


def is_death(error: BaseException) -> bool:
    """Return whether work failed because its worker died, and not by an error of its own."""
    module = type(error).__module__.split(".")[0]
    return isinstance(error, BrokenExecutor) or module in OUTSIDE


class Processes(Executor):
    """Processes of this machine; after one has died, new ones get the next piece of work.

    Args:
        workers: Processes.
        threads: Threads of torch in each of them.
    """

    def __init__(self, workers: int, threads: int) -> None:
        # A fork of a process with threads, such as torch's, can hang.
        context = multiprocessing.get_context("spawn")
        self._new = partial(ProcessPoolExecutor, workers, context, _prepare, (threads,))
        self._pool = self._new()

    def submit(self, work: Callable[..., Value], /, *args: Any, **named: Any) -> Future[Value]:
        """Give a piece of work to the processes, to new ones if one of them has died."""
        try:
            return self._pool.submit(work, *args, **named)
        except BrokenExecutor:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._new()
            return self._pool.submit(work, *args, **named)

    def end(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End the processes; at once after an error, where nobody takes what they are at."""
        if kind is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _prepare(threads: int) -> None:
    """Make a worker leave Ctrl-C and the like to its parent, end with it, and share the cores."""
    # Libraries with threads of their own, such as tblite's, read this when they are loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
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


def _parsl(file: str, workers: int, threads: int, stack: ExitStack) -> Executor:
    from parsl import DataFlowKernel
    from parsl.concurrent import ParslPoolExecutor

    if file:
        config = config_of(file)
    else:
        logs = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        config = _local_config(workers, threads, logs)
    kernel = stack.enter_context(DataFlowKernel(config))
    made: Executor = ParslPoolExecutor(dfk=kernel)
    return made


def config_of(file: str) -> Any:
    """Return `config` of a Python file of the user, which is run."""
    from parsl import Config

    if not Path(file).is_file():
        raise ConfigError(f"Expected a Python file with Parsl's configuration, found no {file}.")
    try:
        config = runpy.run_path(file).get("config")
    except Exception as error:  # it is any code
        raise ConfigError(f"{file} does not run: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise ConfigError(
            f"Expected in {file} a line `config = parsl.Config(...)`, got "
            f"{'no config' if config is None else f'a config of {type(config).__name__}'}."
        )
    return config


def _local_config(workers: int, threads: int, logs: str) -> Any:
    """Return the configuration of Parsl's own workers on this machine."""
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    scripts = sysconfig.get_path("scripts")  # may not be on the path
    executor = HighThroughputExecutor(
        label="matkit",
        address="127.0.0.1",
        max_workers_per_node=workers,
        cores_per_worker=1e-3,  # as many as were asked for, whatever there is
        heartbeat_period=int(LOOK),  # which is also when dead workers are noticed
        interchange_launch_cmd=[os.path.join(scripts, "interchange.py")],
        encrypted=False,  # nothing leaves this machine
        provider=LocalProvider(
            min_blocks=1,
            worker_init=f"export PATH={shlex.quote(scripts)}:$PATH OMP_NUM_THREADS={threads}",
        ),
    )
    return Config(
        executors=[executor],
        run_dir=logs,
        initialize_logging=False,
        strategy="none",
        strategy_period=LOOK,
    )


def _dask(address: str, workers: int, threads: int, stack: ExitStack) -> Executor:
    import dask
    from distributed import Client, LocalCluster

    place: Any = address
    if not address:
        # The ledger's own count says when work is given up.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
        place = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                env={"OMP_NUM_THREADS": str(threads)},
                silence_logs="CRITICAL",
            )
        )
    client = stack.enter_context(Client(place, timeout=REACH))
    made: Executor = client.get_executor(pure=False)
    return made
