"""Any ASE calculator, averaged over turned copies of a structure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.models.symmetrized import Symmetrization
from matkit.neighbors import radius_graph
from matkit.nn.orientations import FrameOrientations, GridOrientations, Orientations
from matkit.shareable import Shareable, one_at_a_time

# Reach of the neighbours that say how a structure lies, Å.
REACH = 6.0
AVERAGED = ("energy", "free_energy", "forces", "stress")


class SymmetrizedCalculator(Shareable):
    """ASE calculator whose results are averages of another one's over turned copies.

    Beside them are their standard deviations over the copies, `energy_std` (eV) and `forces_std`
    (eV/Å), which say how far the other calculator is from symmetric.

    Args:
        calculator: Any ASE calculator with energies.
        wanted: Over which copies. With `frames` forces have the part that comes from the turn of
            the axes; periodic structures need `grid` then, as a calculator does not tell the
            torque on a cell.

    Raises:
        ConfigError: the calculator has no energies.
    """

    def __init__(self, calculator: BaseCalculator, wanted: Symmetrization) -> None:
        super().__init__()
        given = list(getattr(calculator, "implemented_properties", ()))
        if "energy" not in given:
            raise ConfigError(
                f"Expected a calculator with energies, got {type(calculator).__name__} with "
                f"{', '.join(given) or 'nothing'}."
            )
        self.calculator, self.wanted = calculator, wanted
        spread = [f"{name}_std" for name in ("energy", "forces") if name in given]
        self.implemented_properties = [name for name in AVERAGED if name in given] + spread
        grid = GridOrientations(wanted.size, wanted.reflections)
        frames = FrameOrientations(grid, wanted.reflections).eval()
        self.orientations = grid if wanted.mode == "grid" else frames

    @one_at_a_time
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``self.results``.

        Raises:
            ConfigError: frames of a periodic structure are asked for.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        if self.wanted.mode != "grid" and self.atoms.pbc.any():
            raise ConfigError(
                "Frames of periodic structures need a potential of matkit, whose derivative by a "
                "rotation is known. Take a grid: symmetrize(calculator, 'grid:24')."
            )
        graph = radius_graph(from_ase(self.atoms), REACH)
        positions = graph.positions.requires_grad_()
        with torch.enable_grad():
            copies = self.orientations(graph.replace(positions=positions))
        wanted = {name.removesuffix("_std") for name in properties} | {"energy", "forces"}
        wanted &= set(self.implemented_properties)
        matrices = copies.matrix.detach().numpy()
        found = [self._copy(matrix, sorted(wanted)) for matrix in matrices]
        self.results = _averages(found, matrices, copies.weight.numpy())
        if "forces" in wanted and copies.matrix.requires_grad:
            self.results["forces"] += _through_axes(copies, positions, found)

    def _copy(self, matrix: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """Return what the calculator says of a turned copy."""
        assert self.atoms is not None
        turned = self.atoms.copy()
        turned.set_cell(self.atoms.cell.array @ matrix, scale_atoms=False)
        turned.set_positions(self.atoms.positions @ matrix, apply_constraint=False)
        return {name: self.calculator.get_property(name, turned) for name in names}


def _averages(
    found: Sequence[dict[str, Any]], matrices: np.ndarray, weights: np.ndarray
) -> dict[str, Any]:
    """Return weighted means and standard deviations of results, turned back."""
    energies = np.array([results["energy"] for results in found])
    mean = float(weights @ energies)
    averages: dict[str, Any] = {
        "energy": mean,
        "free_energy": mean,
        "energy_std": float(np.sqrt(weights @ (energies - mean) ** 2)),
    }
    pairs = list(zip(found, matrices, strict=True))
    if "forces" in found[0]:
        forces = np.array([results["forces"] @ matrix.T for results, matrix in pairs])
        averages["forces"] = np.einsum("k,knx->nx", weights, forces)
        squares = (forces - averages["forces"]) ** 2
        averages["forces_std"] = np.sqrt(np.einsum("k,knx->nx", weights, squares))
    if "stress" in found[0]:
        full = [voigt_6_to_full_3x3_stress(results["stress"]) for results, _ in pairs]
        turned = [m @ stress @ m.T for stress, m in zip(full, matrices, strict=True)]
        averages["stress"] = full_3x3_to_voigt_6_stress(np.einsum("k,kxy->xy", weights, turned))
    return averages


def _through_axes(
    copies: Orientations, positions: torch.Tensor, found: Sequence[dict[str, Any]]
) -> np.ndarray:
    """Return the forces [N, 3] that come from the turn of the axes as atoms move."""
    centred = positions.detach() - positions.detach().mean(dim=0)
    forces = torch.from_numpy(np.array([results["forces"] for results in found]))
    by_matrix = -torch.einsum("k,nx,kny->kxy", copies.weight, centred, forces)
    (gradient,) = torch.autograd.grad(copies.matrix, positions, by_matrix)
    return -gradient.numpy()
