"""What an architecture may ask to have measured in its training set, by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from matkit.data.dataset import Dataset
from matkit.errors import ModelError, did_you_mean
from matkit.interfaces import Potential
from matkit.neighbors import radius_graph
from matkit.structures import Structures

# Structures from which the mean number of neighbours is taken.
SAMPLE = 500


def statistics(
    cls: type[Potential], settings: Mapping[str, Any], structures: Structures
) -> dict[str, float]:
    """Return the arguments of a constructor that the training set determines.

    Args:
        cls: Architecture; its `statistics` names the arguments, each one of `MEASURES`.
        settings: Hyper-parameters that were chosen; what they give is not measured.
        structures: Training set.

    Raises:
        ModelError: the architecture asks for something that is not measured.
    """
    if unknown := cls.statistics - MEASURES.keys():
        word = min(unknown)
        raise ModelError(
            f"{cls.__name__} declares {word!r} in `statistics`.{did_you_mean(word, MEASURES)}"
        )
    default = inspect.signature(cls).parameters.get("cutoff")
    cutoff = settings.get("cutoff", default.default if default is not None else None)
    wanted = sorted(cls.statistics - settings.keys())
    return {name: MEASURES[name](structures, float(cutoff)) for name in wanted}


def neighbor_norm(structures: Structures, cutoff: float) -> float:
    """Return the root of the mean number of neighbours, at least 1."""
    return math.sqrt(max(mean_neighbors(structures, cutoff), 1.0))


def force_scale(dataset: Dataset) -> float:
    """Return the root mean square of the force components in eV/Å, 1 if there are no forces."""
    forces = dataset.structures.atom["forces"]
    known = forces[~torch.isnan(forces)]
    scale = float(known.square().mean().sqrt()) if len(known) else 0.0
    return scale if scale > 1e-6 else 1.0


def mean_neighbors(structures: Structures, cutoff: float) -> float:
    """Return the mean number of neighbours of an atom, from some hundred structures."""
    which = range(0, len(structures), max(1, len(structures) // SAMPLE))
    graph = radius_graph(structures.index(which), cutoff)
    return len(graph.center) / len(graph.species)


MEASURES: dict[str, Callable[[Structures, float], float]] = {
    "neighbor_norm": neighbor_norm,
    "mean_neighbors": mean_neighbors,
}
