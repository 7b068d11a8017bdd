"""How many threads a piece of work is worth.

All threads of a team must arrive before any goes on. Where a processor is wanted by others too, a
wait costs a time slice of milliseconds, and a network that is run on few atoms waits a hundred
times for work of microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Edges that a second thread pays for: a network of five layers takes some 10 ms for them.
FEW_EDGES = 1024


@contextmanager
def one_thread() -> Iterator[None]:
    """Do what follows on the calling thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(edges: int) -> Iterator[None]:
    """Run a network on as many threads as its edges are worth: all of torch's, or one."""
    if edges >= FEW_EDGES:
        yield
    else:
        with one_thread():
            yield
