"""Uncertainties of predicted properties: fitted after training, kept in the model file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from matkit.evaluator import batches
from matkit.graph import Graph
from matkit.interfaces import PropertyModel
from matkit.interfaces.property_model import columns_of
from matkit.nn.heads.last_layer import LastLayer
from matkit.structures import Structures

# Structures of the training set that are looked at, at most, spread over it.
MOST = 20_000


@torch.no_grad()
def fit_uncertainty(model: PropertyModel, train: Structures, valid: Structures) -> None:
    """Let a trained network know how uncertain the last map of each target is.

    Args:
        model: Network with `uncertainty`, one `LastLayer` for each target.
        train: Structures that it was trained on.
        valid: Structures with targets that it was not trained on.
    """
    step = max(1, len(train) // MOST)
    seen = train.index(range(0, len(train), step))
    products: list[Tensor] = [torch.zeros(()) for _ in model.targets]
    for graph in graphs(model, seen):
        for k, rows in enumerate(_rows(model, graph)[1]):
            products[k] = products[k] + rows.T @ rows
    inputs: list[list[Tensor]] = [[] for _ in model.targets]
    errors: list[list[Tensor]] = [[] for _ in model.targets]
    for graph in graphs(model, valid):
        wrong, found = _rows(model, graph)
        for k, rows in enumerate(found):
            known = wrong[k].isfinite()
            inputs[k].append(rows[known])
            errors[k].append(wrong[k][known])
    for k, layer in enumerate(uncertainties(model)):
        layer.fit(step * products[k], torch.cat(inputs[k]), torch.cat(errors[k]))


def uncertainties(model: PropertyModel) -> list[LastLayer]:
    """Return what knows how uncertain each target is."""
    return [cast(LastLayer, layer) for layer in model.uncertainty]


def graphs(model: PropertyModel, structures: Structures) -> Iterator[Graph]:
    """Give the graphs of structures in batches."""
    device = next(model.parameters()).device
    for which in batches(structures):
        yield model.featurize(structures.index(which)).to(device)


def _rows(model: PropertyModel, graph: Graph) -> tuple[list[Tensor], list[Tensor]]:
    """Return errors and inputs of the last map of each target, a row for each component."""
    values, inputs = model.last_inputs(graph)
    wrong = values - graph.system["targets"]
    return (
        [wrong[:, columns].flatten() for columns in columns_of(model.targets)],
        [x.flatten(0, 1) for x in inputs],
    )
