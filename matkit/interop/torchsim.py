"""TorchSim moves the atoms of many structures at once, potentials of matkit give the forces.

Importing this module needs TorchSim.
"""

from __future__ import annotations

from typing import Any

import torch
from ase.calculators.calculator import BaseCalculator
from torch import Tensor

from matkit.calculator import MatkitCalculator
from matkit.conditions import NEUTRAL, refuse_ignored
from matkit.errors import ConfigError, MissingExtraError
from matkit.evaluator import refuse_coincident, within
from matkit.interfaces import Potential
from matkit.neighbors.verlet import VerletList
from matkit.structures import Structures

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise MissingExtraError(
        'TorchSim is not installed: pip install "matkit[torchsim]", with Python 3.12 or newer'
    ) from error


class TorchSimModel(ModelInterface):  # type: ignore[misc] # unknown to type checkers without it
    """The potentials of a calculator as a model of TorchSim; of a committee it gives the means.

    States have cells with the lattice vectors as columns there. Geometry and energies are in
    double precision within, the results in that of the state. A charge or multiplicity is taken
    from ``state.charge`` and ``state.spin``.

    Args:
        calc: Calculator of matkit; its device, precision and skin are used.

    Raises:
        ConfigError: it is another calculator, whose networks are not known.
    """

    def __init__(self, calc: BaseCalculator) -> None:
        super().__init__()
        if not isinstance(calc, MatkitCalculator):
            raise ConfigError(
                f"Expected a calculator of matkit, such as that of load_calculator, got "
                f"{type(calc).__name__}: TorchSim computes many structures at once."
            )
        self.members: list[Potential] = list(calc.potentials)
        self.conditions = calc.conditions()
        given = calc.parameters
        self.ignore_charge = given["ignore_charge"]
        self.neighbors = VerletList(calc.neighbors.cutoff, given["skin"], given["neighbors"])
        self._device, self._dtype = calc.device, calc.dtype
        self._compute_forces = True
        self._compute_stress = "stress" in calc.implemented_properties

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Return energy [B], forces [N, 3] and, if the potential has one, stress [B, 3, 3].

        The stress of a structure that is not periodic is not a number.

        Args:
            state: TorchSim's `SimState`.

        Raises:
            StructureError: atoms coincide, or there is an element, charge or multiplicity that
                the model does not know.
        """
        structures = _structures(state)
        if not self.ignore_charge:
            refuse_ignored(structures, self.conditions)
        for member in self.members:
            member.check_species(structures)
        graph = self.neighbors.graph(structures, self._device)
        refuse_coincident(graph)
        names = ("energy", "forces", *(["stress"] if self._compute_stress else []))
        parts = [member(within(graph, member), names, False) for member in self.members]
        return {
            name: torch.stack([part[name].detach() for part in parts]).mean(0).to(state.positions)
            for name in names
        }


def _structures(state: Any) -> Structures:
    extras = state.system_extras
    return Structures(
        positions=state.positions.detach().double(),
        species=state.atomic_numbers.long(),
        cell=state.cell.detach().double().mT.contiguous(),
        pbc=torch.as_tensor(state.pbc, device=state.device).expand(len(state.cell), 3),
        n_atoms=torch.bincount(state.system_idx, minlength=len(state.cell)),
        system={key: extras[key].double() for key in NEUTRAL if key in extras},
    )
