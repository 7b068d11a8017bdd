"""Errors of predicted properties beside those of what the composition alone says."""

from __future__ import annotations

from typing import Any

import torch

from matkit.interfaces import PropertyModel
from matkit.interfaces.property_model import columns_of
from matkit.properties.uncertainty import graphs
from matkit.structures import Structures

# A network that leaves more of the composition's error than this has learnt hardly anything.
HARDLY = 0.95


@torch.no_grad()
def compared_with_composition(
    model: PropertyModel, structures: Structures
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the mean absolute error of every target beside that of the composition.

    Args:
        model: Network.
        structures: Structures with targets.

    Returns:
        A row of numbers for each target, and the same as text.
    """
    found = torch.cat([model(graph)["targets"].cpu() for graph in graphs(model, structures)])
    values = structures.system["targets"]
    wrong = (found - values).abs()
    alone = (model.baseline(structures).cpu() - values).abs()
    rows, lines = [], []
    for target, columns in zip(model.targets, columns_of(model.targets), strict=True):
        own, simple = (float(part[:, columns].nanmean()) for part in (wrong, alone))
        rows.append({"target": target.name, "unit": target.unit, "mae": own, "composition": simple})
        said = f"{target.name}: {own:.4g} {target.unit}".rstrip()
        said += f" (composition alone {simple:.4g})"
        lines.append(said + ("; hardly better than that" if own > HARDLY * simple else ""))
    return rows, lines
