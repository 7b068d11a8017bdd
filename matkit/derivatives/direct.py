"""Networks that predict forces themselves, which are not the derivative of their energy."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor

from matkit.derivatives.force_field import DERIVED, ForceField, stress_is_defined
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.scatter import scatter_sum
from matkit.threads import threads_for


class Direct(ForceField):
    """A network with forces of its own, as they come; what it does not give is not made up.

    Energies drift in dynamics with such forces, and second derivatives of the energy do not belong
    to them (Bigi et al. 2025, https://arxiv.org/abs/2412.11569).

    Args:
        network: Potential that provides `forces`, `atom_energy` or `energy`, and perhaps `stress`.
    """

    conservative = False

    def __init__(self, network: Potential) -> None:
        super().__init__(network)
        self.provides = network.provides | {"energy"}

    def forward(
        self,
        graph: Graph,
        properties: Collection[str] = DERIVED,
        differentiable: bool | None = None,
    ) -> Properties:
        """Return what the network does, with the total energy; a stress it lacks is NaN."""
        keep = self.training if differentiable is None else differentiable
        with threads_for(len(graph.center)), torch.set_grad_enabled(keep):
            values = {**cast(dict[str, Tensor], self.network(graph))}
            values |= {key: values[key].double() for key in DERIVED & values.keys()}
            if "energy" not in values:
                energy = values["atom_energy"].double()
                values["energy"] = scatter_sum(energy, graph.batch, len(graph))
        if "stress" in properties:
            given = values.get("stress", graph.cell.new_zeros(len(graph), 3, 3) + torch.nan)
            defined = stress_is_defined(graph)[:, None, None]
            values["stress"] = torch.where(defined, given, torch.nan)
        return cast(Properties, values)
