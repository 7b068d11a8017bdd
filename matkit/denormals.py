"""Numbers smaller than a processor is fast with.

Below 1e-38 (float32) digits are lost one by one, and many processors take a hundred times as long
for each operation. Derivatives by logits that are certain are such numbers: a training of CDVAE
was four times as fast with zeros in their place. CrystalFlow draws a sixth faster; for potentials
there is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_denormals() -> Iterator[None]:
    """Take denormal numbers as zero, on this thread and on those that it starts meanwhile.

    Without effect on a processor that has no such mode.
    """
    before = denormals_are_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def denormals_are_zero() -> bool:
    """Return whether the calling thread takes denormal numbers as zero."""
    least = torch.tensor([torch.finfo(torch.float32).tiny])
    return bool((least / 2 == 0).all())
