"""Whether a processor multiplies matrices in bfloat16 as fast as it is thought to."""

from __future__ import annotations

import time

import torch

ROWS, SIDE, REPEATS = 4096, 256, 5


def bfloat16_speed() -> float:
    """Return how many times as fast matrices are multiplied in bfloat16 as in float32.

    Measured, in some hundredths of a second: processors with instructions for bfloat16, but no
    tiles, can be slower with it.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, matrix = torch.ones(ROWS, SIDE, dtype=dtype), torch.ones(SIDE, SIDE, dtype=dtype)
        rows @ matrix
        taken = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            rows @ matrix
            taken.append(time.perf_counter() - begin)
        seconds[dtype] = min(taken)
    return seconds[torch.float32] / seconds[torch.bfloat16]
