"""Dipole moments and charges by a network of properties, beside the energies of a potential."""

from __future__ import annotations

from typing import Any

import torch
from ase.units import Bohr, Debye
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError, ModelError, StructureError
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
    """The dipole of a network of properties, in e Å, and the charges that it is made of, in e.

    Args:
        network: Network with one target that is a vector.

    Raises:
        ConfigError: it has none or several, or one of an unknown unit.
    """

    def __init__(self, network: PropertyModel) -> None:
        super().__init__()
        kinds = zip(network.targets, columns_of(network.targets), strict=True)
        found = [(k, t, c) for k, (t, c) in enumerate(kinds) if t.kind == "dipole" and t.width == 3]
        if len(found) != 1:
            raise ConfigError(
                "Expected a network with one dipole of three components, got the targets "
                f"{', '.join(f'{t.name} ({t.kind}, {t.width})' for t in network.targets)}. Train "
                "one: matkit train --task property --target NAME:dipole:D"
            )
        ((self.number, target, self.columns),) = found
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
        with torch.no_grad():
            targets = self.network(self._graph(structures))["targets"]
        return self.factor * targets[:, self.columns].double()

    def charges(self, structures: Structures) -> Float[Tensor, " N"]:
        """Return the charges [N] in e, float64; see `PropertyModel.atomic_charges`.

        Raises:
            StructureError: one is periodic.
            UnknownElementError: it holds an element that the network does not know.
            ModelError: the network makes its dipole of something else.
        """
        with torch.no_grad():
            found = self.network.atomic_charges(self._graph(structures), self.number)
        if found is None:
            raise ModelError(f"{type(self.network).__name__} has a dipole, but no charges.")
        return self.factor * found.double()

    def _graph(self, structures: Structures) -> Any:
        if bool(structures.pbc.any()):
            raise StructureError(
                "The dipole of a periodic structure is not defined, nor are the charges it is "
                "made of."
            )
        return self.network.featurize(structures)
