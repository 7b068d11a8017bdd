"""Sums over atoms and edges, in one place: torch-scatter where installed, torch otherwise."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

try:  # optional extra `scatter`
    from torch_scatter import segment_csr
except ImportError:
    segment_csr = None


def scatter_sum(
    values: Float[Tensor, "M *F"],
    index: Int[Tensor, " M"],
    size: int,
    pointers: Int[Tensor, " size_plus_1"] | None = None,
) -> Float[Tensor, "size *F"]:
    """Return ``out[k] = sum of values[m] over index[m] == k`` [size, ...].

    Args:
        values: Rows to sum [M, ...].
        index: Target of each row [M].
        size: Number of targets.
        pointers: ``index == k`` exactly for rows ``pointers[k]:pointers[k + 1]``; given for
            sorted rows, it lets torch-scatter sum each segment in one pass.
    """
    if size == 1:  # one system: a plain sum, in which a GPU's threads do not queue for one number
        return values.sum(dim=0, keepdim=True)
    if segment_csr is not None and pointers is not None:
        summed: Tensor = segment_csr(values, pointers, reduce="sum")
        return summed
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)
