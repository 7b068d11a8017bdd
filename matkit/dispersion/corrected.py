"""A potential to which a dispersion correction is added."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from matkit.derivatives import DERIVED, ForceField
from matkit.dispersion.d3 import (
    D3,
    LAST_ELEMENT,
    FrozenGeometry,
    check_d3,
    dispersion,
    dispersion_hessian,
    geometry,
)
from matkit.elements import format_species
from matkit.errors import UnknownElementError
from matkit.graph import Graph
from matkit.interfaces import Properties
from matkit.structures import Structures


class DispersionCorrected(ForceField):
    """A potential with D3 added to its energies, forces and stress.

    Computed on the CPU in float64, so that nothing is recorded as CUDA graph. There is no predicted
    Hessian: that of the network lacks the correction.

    Args:
        potential: What it is added to.
        d3: Which correction.

    Raises:
        ConfigError: the correction is unknown, or has no parameters for the functional.
        MissingExtraError: dftd3 is not installed.
    """

    def __init__(self, potential: ForceField, d3: D3) -> None:
        super().__init__(potential)
        check_d3(d3)
        self.d3 = d3
        self.conservative, self.provides = potential.conservative, potential.provides
        self.hessian_cutoff, self.recordable = None, False

    def forward(
        self,
        graph: Graph,
        properties: Collection[str] = DERIVED,
        differentiable: bool | None = None,
    ) -> Properties:
        """Add the correction to what the potential gives; see `ForceField.forward`."""
        keep = self.training if differentiable is None else differentiable
        values = cast(dict[str, Tensor], dict(self.network(graph, properties, differentiable)))
        positions = graph.positions if keep else graph.positions.detach()
        found = _Addition.apply(positions, graph, self.d3)  # type: ignore[no-untyped-call]
        for key, value in zip(("energy", "atom_energy", "forces", "stress"), found, strict=True):
            if key in values:
                values[key] = values[key] + value.to(values[key])
        return cast(Properties, values)

    def check_species(self, structures: Structures) -> None:
        """Raise UnknownElementError if the potential or D3 does not know an element."""
        super().check_species(structures)
        beyond = {z for z in structures.species.tolist() if z > LAST_ELEMENT}
        if beyond:
            raise UnknownElementError(
                f"D3 has no parameters for {format_species(beyond)}; it ends with "
                f"{format_species([LAST_ELEMENT])}. Leave the dispersion out."
            )


class _Addition(torch.autograd.Function):
    """D3 of a batch; energies and forces can be differentiated by the positions, once."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, graph: Graph, d3: D3) -> tuple[Tensor, ...]:
        """Return energies [B], those of the atoms [N], forces [N, 3] and stress [B, 3, 3]."""
        structures = _geometries(positions, graph)
        found = [dispersion(d3, structure) for structure in structures]
        arrays = (
            np.array([part.atom_energy.sum() for part in found]),
            np.concatenate([part.atom_energy for part in found]),
            np.concatenate([part.forces for part in found]),
            np.array([part.virial for part in found]),
        )
        energy, atom_energy, forces, virial = map(torch.from_numpy, arrays)
        volume = graph.volume.cpu().double()[:, None, None]
        stress = torch.where(volume > 0, virial / volume, 0.0)
        ctx.given, ctx.forces = (structures, d3, positions), forces
        ctx.mark_non_differentiable(atom_energy, stress)
        return energy, atom_energy, forces, stress

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_energy: Tensor, _by_atom: Tensor, by_forces: Tensor, _by_stress: Tensor
    ) -> tuple[Tensor, None, None]:
        """Return the derivative by positions: that of forces are rows of the Hessian."""
        structures, d3, positions = ctx.given
        sizes = [len(structure.numbers) // 8 for structure in structures]
        found = []
        for structure, energy, rows, forces in zip(
            structures, by_energy, by_forces.split(sizes), ctx.forces.split(sizes), strict=True
        ):
            gradient = -energy * forces
            if rows.any():
                hessian = torch.from_numpy(dispersion_hessian(d3, structure))
                gradient = gradient - (hessian @ rows.flatten()).view(-1, 3)
            found.append(gradient)
        return torch.cat(found).to(positions), None, None


def _geometries(positions: Tensor, graph: Graph) -> list[FrozenGeometry]:
    sizes = graph.n_atoms.tolist()
    tensors = (graph.species.cpu().split(sizes), positions.detach().cpu().double().split(sizes))
    return [
        geometry(*arrays)
        for arrays in zip(*tensors, graph.cell.cpu().double(), graph.pbc.cpu(), strict=True)
    ]


def with_dispersion(
    potential: ForceField, damping: str | None, functional: str = "pbe"
) -> ForceField:
    """Return the potential with a dispersion correction, or as it is if there is to be none.

    Args:
        potential: Any force field, such as `matkit.load` gives.
        damping: `d3`, `d3bj` or None, see `D3`.
        functional: Density functional of the labels that it was trained on.

    Raises:
        ConfigError: the correction is unknown, or has no parameters for the functional.
        MissingExtraError: dftd3 is not installed.
    """
    return potential if damping is None else DispersionCorrected(potential, D3(damping, functional))
