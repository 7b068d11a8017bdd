"""How many structures are computed together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.structures import Structures

# Edges of a batch. On a CPU larger ones are not faster; a GPU begins with so many and then takes
# what its memory holds.
EDGES = {"cpu": 20_000, "cuda": 100_000}
# Part of a GPU's memory that a batch may fill: the largest structures come first, but pairs come
# and go.
PART = 0.6

# Structures of a batch, or auto.
BatchSize = int | Literal["auto"]


class BatchLimit:
    """Bounds a batch by a number of structures, or by its edges, and with them its memory.

    Args:
        size: Structures of a batch; `auto` for as many as are fast and fit.
        device: Where they are computed.
        cutoff: Longest edge, Å.

    Raises:
        ConfigError: `size` is neither.
    """

    def __init__(self, size: BatchSize, device: torch.device, cutoff: float) -> None:
        check_size(size)
        self.size = None if size == "auto" else size
        self.device, self.cutoff = device, cutoff
        self.edges = float(EDGES.get(device.type, EDGES["cpu"]))

    def admits(self, count: int, edges: float) -> bool:
        """Return whether a batch may have so many structures and edges; one it always may."""
        if count <= 1:
            return True
        return count <= self.size if self.size is not None else edges <= self.edges

    def expected_edges(self, structures: Structures) -> float:
        """Return about how many edges one structure (a batch of one) has."""
        n_atoms = len(structures.species)
        everything = float(n_atoms * (n_atoms - 1))
        volume = float(structures.volume[0])
        if volume <= 0 or not bool(structures.pbc.any()):
            return everything
        sphere = 4 / 3 * math.pi * self.cutoff**3
        dense = n_atoms * n_atoms / volume * sphere
        return dense if bool(structures.pbc.all()) else max(dense, min(everything, 2 * dense))

    def shrink(self) -> None:
        """Halve the batches from now on: the memory did not suffice."""
        self.edges /= 2
        if self.size is not None:
            self.size = max(1, self.size // 2)

    @contextmanager
    def watched(self, graph: Graph) -> Iterator[None]:
        """Learn from a computation how much memory an edge takes on a GPU."""
        if self.device.type != "cuda" or self.size is not None:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        yield
        each = (torch.cuda.max_memory_allocated(self.device) - before) / max(len(graph.center), 1)
        free, _ = torch.cuda.mem_get_info(self.device)
        unused = torch.cuda.memory_reserved(self.device) - before
        self.edges = PART * (free + unused) / max(each, 1.0)


def check_size(size: BatchSize) -> None:
    """Check a number of structures of a batch.

    Raises:
        ConfigError: it is neither `auto` nor a number from 1.
    """
    if not (size == "auto" or (isinstance(size, int) and size > 0)):
        raise ConfigError(f"Expected as batch_size auto or a number from 1, got {size!r}.")
