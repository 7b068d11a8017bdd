"""The copy of a network in double precision that inference is tabulated from and compared with."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from matkit.interfaces import Potential

Network = TypeVar("Network", bound=Potential)


def exact_copy(network: Network, rows: list[int]) -> Network:
    """Return a copy in float64 on the CPU that can be evaluated for some species only.

    Most weights of a network that knows many elements are matrices by species. Those of the others
    are never written, so that they take no memory.

    Args:
        network: Network; its parameters of three dimensions have a row for every species.
        rows: Indices of the species that are copied.
    """
    copies: dict[int, nn.Parameter] = {}
    for parameter in network.parameters():
        by_species = parameter.ndim == 3 and len(parameter) == len(network.species)
        double = torch.empty(parameter.shape, dtype=torch.float64)
        for row in rows if by_species else [slice(None)]:
            double[row] = parameter.detach()[row]
        copies[id(parameter)] = nn.Parameter(double, requires_grad=False)
    # What is in the memory of `deepcopy` counts as copied.
    return copy.deepcopy(network, copies).cpu().double()
