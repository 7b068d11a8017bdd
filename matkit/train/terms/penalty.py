"""What a network asks training to keep small itself: `penalty`, such as of `transip`."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.interfaces import Properties
from matkit.structures import Structures

NEEDS: tuple[str, ...] = ()


def loss(prediction: Properties, target: Structures) -> Float[Tensor, " B"]:
    """Return the penalty of every structure [B].

    Raises:
        ConfigError: the network has none.
    """
    del target  # it says nothing of the network
    if "penalty" not in prediction:
        raise ConfigError("The network has no penalty; leave it out of extra_losses.")
    return prediction["penalty"]


def labelled(target: Structures) -> Bool[Tensor, " B"]:
    """Return that every structure [B] counts."""
    return torch.ones(len(target), dtype=torch.bool, device=target.device)
