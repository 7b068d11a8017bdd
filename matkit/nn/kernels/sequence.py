"""Many launches of compiled kernels as one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

from torch import Tensor

from matkit.nn.kernels import compiler

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

# Called with [address of the pairs of a kernel and its job, their number]; a job is what
# `matkit.nn.kernels.kernel.ENTRY` says, its counter of chunks is set back here.
DRIVER = """
define void @entry(ptr %sequence) nounwind {
entry:
  %pairs = load ptr, ptr %sequence
  %p1 = getelementptr i64, ptr %sequence, i64 1
  %count = load i64, ptr %p1
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %work]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %work, label %exit
work:
  %at = mul i64 %i, 2
  %pk = getelementptr i64, ptr %pairs, i64 %at
  %pj = getelementptr i64, ptr %pk, i64 1
  %kernel = load ptr, ptr %pk
  %job = load ptr, ptr %pj
  %counter = getelementptr i64, ptr %job, i64 3
  store i64 0, ptr %counter
  call void %kernel(ptr %job)
  %next = add i64 %i, 1
  br label %head
exit:
  ret void
}
"""


@cache
def _driver() -> Any:
    return _Entry(compiler.load("sequence", lambda: DRIVER))


class LaunchSequence:
    """Launches on the calling thread, with the same memory each time."""

    def __init__(self) -> None:
        self._pairs: list[int] = []
        self._alive: list[Any] = []  # what addresses point at
        self._sequence: Any = None

    def add(self, entry: int, arguments: Sequence[Tensor | int], rows: tuple[int, int]) -> None:
        """Append a launch.

        Args:
            entry: Address of the compiled function.
            arguments: Tensors, contiguous, and numbers in the kernel's order.
            rows: First row and the one after the last.
        """
        words = [part if isinstance(part, int) else part.data_ptr() for part in arguments]
        pointers = (ctypes.c_int64 * len(words))(*words)
        bounds = (ctypes.c_int64 * 2)(*rows)
        job = (ctypes.c_int64 * 4)(ctypes.addressof(pointers), ctypes.addressof(bounds), 1, 0)
        self._pairs += [entry, ctypes.addressof(job)]
        self._alive += [*arguments, pointers, bounds, job]

    def run(self) -> None:
        """Run all launches one after the other."""
        if self._sequence is None:
            pairs = (ctypes.c_int64 * len(self._pairs))(*self._pairs)
            count = len(self._pairs) // 2
            self._sequence = (ctypes.c_int64 * 2)(ctypes.addressof(pairs), count)
            self._alive.append(pairs)
        _driver()(ctypes.addressof(self._sequence))
