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
from matkit.symmetrize.lowest_turn import lowest_turn

# Reach of the neighbours that say how a structure lies, Å.
REACH = 6.0
AVERAGED = ("energy", "free_energy", "forces", "stress")


class SymmetrizedCalculator(Shareable):
    """ASE calculator whose results are averages of another one's over turned copies.

    Beside them are their standard deviations over the copies, `energy_std` (eV) and `forces_std`
    (eV/Å), which say how far the other calculator is from symmetric. With `energy` it is one copy,
    that of lowest energy, and `energy_std` is over the grid from which it is sought.

    Args:
        calculator: Any ASE calculator with energies.
        wanted: Over which copies. With `frames` forces have the part that comes from the turn of
            the axes; periodic structures need `grid` instead of it and of `energy`, as a calculator
            does not tell the torque on a cell.

    Raises:
        ConfigError: the calculator has no energies, or no forces by which to find the lowest.
    """

    def __init__(self, calculator: BaseCalculator, wanted: Symmetrization) -> None:
        super().__init__()
        given = list(getattr(calculator, "implemented_properties", ()))
        if "energy" not in given:
            raise ConfigError(
                f"Expected a calculator with energies, got {type(calculator).__name__} with "
                f"{', '.join(given) or 'nothing'}."
            )
        if wanted.mode == "energy" and "forces" not in given:
            raise ConfigError(
                f"Expected a calculator with forces, got {type(calculator).__name__} without: they "
                "lead to the orientation of lowest energy. Take a grid: grid:24."
            )
        self.calculator, self.wanted = calculator, wanted
        spread = [f"{name}_std" for name in ("energy", "forces") if name in given]
        spread = ["energy_std"] if wanted.mode == "energy" else spread
        self.implemented_properties = [name for name in AVERAGED if name in given] + spread
        grid = GridOrientations(wanted.size, wanted.reflections)
        frames = FrameOrientations(grid, wanted.reflections).eval()
        self.orientations = frames if wanted.mode == "frames" else grid

    @one_at_a_time
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``self.results``.

        Raises:
            ConfigError: frames or the lowest energy of a periodic structure are asked for.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        if self.wanted.mode != "grid" and self.atoms.pbc.any():
            raise ConfigError(
                "Frames of periodic structures need a potential of matkit, whose derivative by a "
                "rotation is known, and so does their lowest energy. Take a grid: "
                "symmetrize(calculator, 'grid:24')."
            )
        graph = radius_graph(from_ase(self.atoms), REACH)
        positions = graph.positions.requires_grad_()
        with torch.enable_grad():
            copies = self.orientations(graph.replace(positions=positions))
        if self.wanted.mode == "energy":
            self._take_lowest(copies)
            return
        wanted = {name.removesuffix("_std") for name in properties} | {"energy", "forces"}
        wanted &= set(self.implemented_properties)
        matrices = copies.matrix.detach().numpy()
        found = [self._copy(matrix, sorted(wanted)) for matrix in matrices]
        self.results = _averages(found, matrices, copies.weight.numpy())
        if "forces" in wanted and copies.matrix.requires_grad:
            self.results["forces"] += _through_axes(copies, positions, found)

    def _take_lowest(self, copies: Orientations) -> None:
        """Fill the results with those of the copy of lowest energy."""
        assert self.atoms is not None
        turned = self.atoms.copy()
        center = self.atoms.positions.mean(axis=0)

        def evaluate(positions: np.ndarray) -> tuple[float, np.ndarray]:
            turned.set_positions(positions, apply_constraint=False)
            found = self.calculator.get_property("energy", turned)
            return found, self.calculator.get_property("forces", turned)

        matrices, weights = copies.matrix.numpy(), copies.weight.numpy()
        matrix, energies = lowest_turn(evaluate, self.atoms.positions - center, matrices)
        found = self._copy(matrix, ["energy", "forces"])
        self.results = _averages([found], matrix[None], np.ones(1))
        del self.results["forces_std"]
        spread = (energies - weights @ energies) ** 2
        self.results["energy_std"] = float(np.sqrt(weights @ spread))

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
