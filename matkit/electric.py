"""Dipole moments by a network of properties, beside the energies of a potential."""

from __future__ import annotations

from typing import Any

import torch
from ase.units import Bohr, Debye
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError, StructureError
from matkit.interfaces import PropertyModel
from matkit.interfaces.property_model import columns_of
from matkit.structures import Structures

# One of each unit that a dipole may be learnt in, in e Å.
UNITS = {
    **dict.fromkeys(("D", "debye", "Debye"), Debye),
    **dict.fromkeys(("e*Å", "e·Å", "e Å", "eÅ", "e*ang", "eA"), 1.0),
    **dict.fromkeys(("e*a0", "e*bohr", "a.u.", "au"), Bohr),
}


class DipoleNetwork(torch.nn.Module):
    """The dipole of a network of properties, in e Å.

    Args:
        network: Network with one target that is a vector.

    Raises:
        ConfigError: it has none or several, or one of an unknown unit.
    """

    def __init__(self, network: PropertyModel) -> None:
        super().__init__()
        kinds = zip(network.targets, columns_of(network.targets), strict=True)
        found = [(t, c) for t, c in kinds if t.kind == "dipole" and t.width == 3]
        if len(found) != 1:
            raise ConfigError(
                "Expected a network with one dipole of three components, got the targets "
                f"{', '.join(f'{t.name} ({t.kind}, {t.width})' for t in network.targets)}. Train "
                "one: matkit train --task property --target NAME:dipole:D"
            )
        ((target, self.columns),) = found
        if target.unit not in UNITS:
            raise ConfigError(
                f"Expected a dipole in one of the units {', '.join(UNITS)}, got "
                f"{target.unit or 'none'}: name it where it is trained, --target "
                f"{target.name}:dipole:D."
            )
        self.network, self.factor = network, UNITS[target.unit]

    def forward(self, structures: Structures) -> Float[Tensor, "B 3"]:
        """Return the dipoles of molecules [B, 3] in e Å, float64.

        Raises:
            StructureError: one is periodic.
            UnknownElementError: it holds an element that the network does not know.
        """
        if bool(structures.pbc.any()):
            raise StructureError("The dipole of a periodic structure is not defined.")
        graph: Any = self.network.featurize(structures)
        with torch.no_grad():
            return self.factor * self.network(graph)["targets"][:, self.columns].double()
