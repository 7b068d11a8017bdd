"""From the atoms of a structure to one row for it, whatever their number and order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError, did_you_mean
from matkit.nn.layered import check_choice
from matkit.nn.scatter import scatter_sum

POOLS = ("sum", "mean", "max")


class Pooling(nn.Module, ABC):
    """From atoms to structures.

    Attributes:
        width: Features of a structure.
    """

    width: int

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int
    ) -> Float[Tensor, "B G"]:
        """Return one row for each of `count` structures; `batch` says whose an atom is."""


class MeanPooling(Pooling):
    """Mean of the atoms.

    Args:
        width: Features of an atom.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(
        self, x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int
    ) -> Float[Tensor, "B G"]:
        """Return one row for each structure."""
        sizes = torch.bincount(batch, minlength=count).to(x)
        return scatter_sum(x, batch, count) / sizes.unsqueeze(1)


class AttentionPooling(Pooling):
    """Weighted means of the atoms side by side, with weights that a perceptron makes of them.

    Args:
        width: Features of an atom.
        heads: Number of means.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.scores = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, heads))
        self.width = heads * width

    def forward(
        self, x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int
    ) -> Float[Tensor, "B G"]:
        """Return one row for each structure."""
        weights = softmax_within(self.scores(x), batch, count)
        parts = [scatter_sum(x * part, batch, count) for part in weights.split(1, dim=1)]
        return torch.cat(parts, dim=1)


class Set2Set(Pooling):
    """Queries by a recurrent network, each answered by a mean (Vinyals et al. 2016, section 4.2).

    ``q_t = LSTM(q_{t-1}, r_{t-1})``, ``r_t = Σ_i softmax_i(x_i · q_t) x_i``; the last of both are
    the result.

    Args:
        width: Features of an atom.
        steps: Number of queries.
    """

    def __init__(self, width: int, steps: int = 6) -> None:
        super().__init__()
        self.cell, self.steps, self.width = nn.LSTMCell(2 * width, width), steps, 2 * width

    def forward(
        self, x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int
    ) -> Float[Tensor, "B G"]:
        """Return one row for each structure."""
        query, memory = x.new_zeros(2, count, x.shape[1]).unbind()
        both = torch.cat([query, query], dim=1)
        for _ in range(self.steps):
            query, memory = self.cell(both, (query, memory))
            scores = (x * query[batch]).sum(dim=1, keepdim=True)
            answer = scatter_sum(softmax_within(scores, batch, count) * x, batch, count)
            both = torch.cat([query, answer], dim=1)
        return both


class DeepSet(Pooling):
    """``pool_i φ(x_i)``, whatever the number and order of atoms (Zaheer et al. 2017).

    The read-out after it is the paper's ρ.

    Args:
        width: Features of an atom, and of a structure.
        pool: `sum`, which grows with the structure, `mean` or `max`, which do not.

    Raises:
        ConfigError: the pool is none of these.
    """

    def __init__(self, width: int, pool: str = "mean") -> None:
        super().__init__()
        check_choice("pool", pool, POOLS)
        self.width, self.pool = width, pool
        self.layer = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int
    ) -> Float[Tensor, "B F"]:
        """Return one row for each of `count` structures; zero if it has no atoms."""
        return pool_rows(self.layer(x), batch, count, self.pool)


def pool_rows(
    x: Float[Tensor, "N F"], batch: Int[Tensor, " N"], count: int, pool: str
) -> Float[Tensor, "B F"]:
    """Return sum, mean or largest of the rows of each structure; zero if it has none."""
    if pool == "max":
        index = batch.unsqueeze(1).expand_as(x)
        none = x.new_zeros(count, x.shape[1])
        return none.scatter_reduce(0, index, x, "amax", include_self=False)
    total = scatter_sum(x, batch, count)
    if pool == "sum":
        return total
    return total / torch.bincount(batch, minlength=count).clamp(min=1).to(x).unsqueeze(1)


POOLINGS: dict[str, Callable[[int], Pooling]] = {
    "set2set": Set2Set,
    "attention": AttentionPooling,
    "mean": MeanPooling,
    "deepset": DeepSet,
}


def pooling(name: str, width: int) -> Pooling:
    """Return the pooling of a name for atoms with so many features.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in POOLINGS:
        raise ConfigError(f"Unknown pooling {name!r}.{did_you_mean(name, POOLINGS)}")
    return POOLINGS[name](width)


def softmax_within(
    scores: Float[Tensor, "N H"], batch: Int[Tensor, " N"], count: int
) -> Float[Tensor, "N H"]:
    """Return weights that add up to one over the atoms of each structure."""
    index = batch.unsqueeze(1).expand_as(scores)
    largest = scores.new_zeros(count, scores.shape[1]).scatter_reduce(
        0, index, scores.detach(), "amax", include_self=False
    )
    weights = (scores - largest[batch]).exp()
    return weights / scatter_sum(weights, batch, count)[batch]
