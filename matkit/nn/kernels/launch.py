"""Calls compiled kernels with tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from matkit.nn.kernels import threads

# Work of a chunk that other threads are called for, at least.
CHUNK_EDGES = 64
CHUNK_ROWS = 512

SCALARS = {torch.float32: "float", torch.float64: "double"}


def launch(entry: int, tensors: Sequence[Tensor | None], bounds: list[int]) -> None:
    """Run a kernel over the rows ``bounds[k]:bounds[k + 1]`` of every chunk k.

    Args:
        entry: Address of the compiled function.
        tensors: Arguments in the kernel's order, contiguous; None for one that is not read.
        bounds: First row of every chunk, closed by the number of rows.
    """
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    rows = (ctypes.c_int64 * len(bounds))(*bounds)
    threads.run(entry, ctypes.addressof(pointers), ctypes.addressof(rows), len(bounds) - 1)


def row_chunks(start: Tensor) -> list[int]:
    """Divide rows with pointers `start` [N + 1] into chunks of about equally many edges."""
    rows, most = start.shape[0] - 1, threads.chunk_count()
    if most == 1:
        return [0, rows]
    pointers = start.numpy()
    edges = int(pointers[-1])
    chunks = min(most, edges // CHUNK_EDGES)
    if chunks <= 1 or rows < chunks:
        return [0, rows]
    middle = pointers.searchsorted([edges * k // chunks for k in range(1, chunks)])
    return [0, *middle.tolist(), rows]


def even_chunks(rows: int) -> list[int]:
    """Divide rows of equal work into chunks."""
    chunks = min(threads.chunk_count(), rows // CHUNK_ROWS)
    if chunks <= 1:
        return [0, rows]
    return [rows * k // chunks for k in range(chunks + 1)]
